// A chat with the hook of version 5, 6 or 7.
import { useEffect, useRef } from "react";
import { load, settings, stopOnServer, View } from "./common.jsx";

/**
 * @param useChat the hook
 * @param Transport the transport, or what counts for it: see `counting`
 * @param options of the transport
 */
export function chatWith(useChat, Transport, options = {}) {
  return function Chat({ id, loaded }) {
    const run = useRef(loaded.activeStreamId);
    const transport = useRef(null);
    transport.current ??= new Transport({
      ...options,
      fetch: async (url, init) => {
        const response = await fetch(url, init);
        if (response.status === 204 && run.current !== null) {
          chat.current.setMessages((await load(id)).messages); // the answer ended meanwhile, and so it was saved
        }
        run.current = response.headers.get("x-resumable-stream-id");
        return response;
      },
      prepareReconnectToStreamRequest: () => {
        const name = settings.by === "run" ? (run.current ?? id) : id;
        const seen = transport.current.seen;
        return { api: `/api/chat/${name}/stream${seen ? `?startIndex=${seen}` : ""}` };
      },
    });
    const chat = useRef(null);
    chat.current = useChat({ id, messages: loaded.messages, transport: transport.current, resume: true });
    const { messages, status, error, sendMessage, regenerate, resumeStream } = chat.current;
    useEffect(() => {
      const goOn = () => resumeStream();
      window.addEventListener("online", goOn);
      return () => window.removeEventListener("online", goOn);
    }, []);
    return (
      <View
        messages={messages}
        status={status}
        error={error}
        send={(text) => sendMessage({ text })}
        stop={() => stopOnServer(id)}
        regenerate={() => regenerate()}
      />
    );
  };
}

/** A transport that counts the chunks of an answer, to go on behind the last one instead of from the first. */
export function counting(Transport) {
  return class extends Transport {
    seen = 0;

    sendMessages(options) {
      this.seen = 0;
      return super.sendMessages(options);
    }

    processResponseStream(stream) {
      const count = (chunk, controller) => {
        this.seen += 1;
        controller.enqueue(chunk);
      };
      return super.processResponseStream(stream).pipeThrough(new TransformStream({ transform: count }));
    }
  };
}

/** Send the last message only: the server has the others. */
export const lastMessageOnly = {
  prepareSendMessagesRequest: ({ id, messages, trigger, messageId }) => ({
    body: { id, message: messages.at(-1), trigger, messageId },
  }),
};
