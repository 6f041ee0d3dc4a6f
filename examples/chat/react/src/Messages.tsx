import { memo } from "react";
import Markdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import type { Message } from "./api";
import { textOf } from "./transport";

const BROKEN = { stopped: "Stopped", shutdown: "Interrupted", lost: "Interrupted", failed: "Failed" };

interface Props {
  messages: Message[];
  isBusy: boolean;
  /** Whether nothing is being written, and nothing is to be tried again first. */
  isSettled: boolean;
  resumedAt: number | null;
  onRegenerate(): void;
}

export function Messages({ messages, isBusy, isSettled, resumedAt, onRegenerate }: Props) {
  const last = messages.at(-1);
  const isWaiting = last?.role === "user" && isBusy;
  return (
    <ol aria-live="polite">
      {messages.map((message) => (
        <li key={message.id} className={message.role} aria-busy={message === last && isBusy && !isWaiting}>
          <Content message={message} />
          {!(message === last && isBusy) && (
            <Broken message={message} isUnanswered={message === last && message.role === "user" && isSettled} />
          )}
          {message === last && isSettled && <button onClick={onRegenerate}>Regenerate</button>}
          {message === last && message.role === "assistant" && resumedAt !== null && (
            <p className="note">Resumed at chunk {resumedAt}</p>
          )}
        </li>
      ))}
      {isWaiting && <li className="assistant" aria-busy="true" aria-label="Waiting for the answer" />}
    </ol>
  );
}

/**
 * How an answer broke off, if it did. There is none at all if the server died that had it in its memory, or if it
 * failed at once.
 */
function Broken({ message, isUnanswered }: { message: Message; isUnanswered: boolean }) {
  const how = message.metadata?.interrupted;
  const text = how ? BROKEN[how] : isUnanswered ? "Not answered" : null;
  return text && <p className="note broken">{text}</p>;
}

/** Markdown as a model writes it. HTML in it is shown as text, and what would load from elsewhere is left out. */
const Content = memo(function Content({ message }: { message: Message }) {
  if (message.role === "user") return <p className="text">{textOf(message)}</p>;
  return (
    <div className="text">
      <Markdown remarkPlugins={[remarkGfm]} components={COMPONENTS} disallowedElements={["img"]}>
        {textOf(message)}
      </Markdown>
    </div>
  );
});

const COMPONENTS: Components = {
  a: ({ node: _, ...props }) => <a {...props} target="_blank" rel="noreferrer" />,
  // What is too wide can be scrolled, by keyboard too.
  pre: ({ node: _, ...props }) => <pre {...props} tabIndex={0} />,
  table: ({ node: _, ...props }) => (
    <div className="table" tabIndex={0} role="group" aria-label="Table">
      <table {...props} />
    </div>
  ),
};
