import { useChat } from "@ai-sdk/react4";
import { useEffect } from "react";
import { load, show, stopOnServer, textOf, View } from "./common.jsx";

function Chat({ id, loaded }) {
  const { messages, status, error, data, append, reload, experimental_resume, setMessages } = useChat({
    id,
    api: "/api/v4/chat",
    initialMessages: loaded.messages.map(asVersion4),
    sendExtraMessageFields: true, // the ids of messages
  });

  useEffect(() => {
    if (loaded.messages.at(-1)?.role === "user") {
      experimental_resume();
    }
    const goOn = async () => {
      setMessages((await load(id)).messages.map(asVersion4));
      experimental_resume();
    };
    window.addEventListener("online", goOn);
    return () => window.removeEventListener("online", goOn);
  }, []);

  // If the answer had ended before it could be resumed, it comes in one piece.
  useEffect(() => {
    const part = data?.at(-1);
    if (part?.type === "append-message") {
      const message = JSON.parse(part.message);
      window.appended = message;
      setMessages([...loaded.messages.map(asVersion4), message]);
    }
  }, [data]);

  return (
    <View
      messages={messages}
      status={status}
      error={error}
      send={(content) => append({ role: "user", content })}
      stop={() => stopOnServer(id)}
      regenerate={() => reload()}
    />
  );
}

function asVersion4(message) {
  const text = textOf(message);
  return { ...message, content: text, parts: [{ type: "text", text }] };
}

show(Chat);
