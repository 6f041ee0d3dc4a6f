// What the pages of all versions have in common: where a chat comes from, and how it is shown.
import { useState } from "react";
import { createRoot } from "react-dom/client";

export const settings = Object.fromEntries(new URLSearchParams(location.search));

export async function load(id) {
  const response = await fetch(`/api/chats/${id}`);
  return response.status === 404 ? { messages: [], activeStreamId: null } : response.json();
}

/** End the answer for everybody. The hook's own `stop` would only look away, and miss the last words. */
export function stopOnServer(id) {
  return fetch(`/api/chat/${id}/stop`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
}

/** Show a chat as soon as it is loaded. */
export async function show(Chat) {
  const loaded = await load(settings.chat);
  createRoot(document.getElementById("root")).render(<Chat id={settings.chat} loaded={loaded} />);
}

export function View({ messages, status, error, send, stop, regenerate }) {
  const [question, setQuestion] = useState("");
  window.messages = messages; // for tests to compare
  return (
    // What is clicked stands above what grows: a press on a button that moves before its release is no click.
    <main data-status={status} data-error={error?.message}>
      <input value={question} onChange={(event) => setQuestion(event.target.value)} />
      <button onClick={() => (send(question), setQuestion(""))}>Send</button>
      <button onClick={stop}>Stop</button>
      <button onClick={regenerate}>Regenerate</button>
      {messages.map((message) => (
        <article key={message.id} className={message.role} data-interrupted={message.metadata?.interrupted}>
          {textOf(message)}
        </article>
      ))}
    </main>
  );
}

export function textOf(message) {
  const texts = (message.parts ?? []).filter((part) => part.type === "text");
  return texts.map((part) => part.text).join("");
}
