// How answers are asked for and followed.
import { DefaultChatTransport } from "ai";
import { createChat, messageIn, Refusal, type Message } from "./api";

interface Events {
  /** A chat was made for its first message. */
  onCreated(): void;
  /** An answer is read from its beginning. */
  onStart(streamId: string | null): void;
  /** An answer is read that was begun before, and of which so many chunks were there already. */
  onResume(streamId: string | null, chunks: number): void;
  /** There is no answer to be followed. */
  onNothing(): void;
}

/**
 * Sends the last message alone, as the server has the others. All of it can be repeated: an id makes one chat, and a
 * message one answer.
 */
export function newTransport(events: Events): DefaultChatTransport<Message> {
  return new DefaultChatTransport<Message>({
    prepareSendMessagesRequest: async ({ id, messages, trigger, messageId }) => {
      const message = messages.at(-1);
      if (trigger === "regenerate-message") return { body: { id, trigger, messageId } };
      if (messages.length === 1 && message) {
        await createChat(id, titleOf(message));
        events.onCreated();
      }
      return { body: { id, trigger, message } };
    },

    fetch: async (url, init) => {
      const response = await fetch(url, init);
      if (!response.ok) throw new Refusal(response.status, messageIn(await response.text(), response.status));
      const streamId = response.headers.get("x-resumable-stream-id");
      const tail = response.headers.get("x-workflow-stream-tail-index"); // the index of the last chunk so far
      if (init?.method === "POST") events.onStart(streamId);
      else if (response.status === 204) events.onNothing();
      else events.onResume(streamId, tail === null ? 0 : Number(tail) + 1);
      return response;
    },
  });
}

/** The text of a message, without what it may have beside that. */
export function textOf(message: Message): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function titleOf(message: Message): string {
  const line = textOf(message).trim().replace(/\s+/g, " ");
  return line.length <= 60 ? line : `${line.slice(0, 59)}…`;
}
