import { useEffect, useLayoutEffect, useRef } from "react";
import type { LoadedChat } from "./api";
import { Composer } from "./Composer";
import { Messages } from "./Messages";
import { useResumableChat } from "./useResumableChat";

const SUGGESTIONS = ["count 200", "Show me some Markdown", "Tell me about the tides"];

interface Props {
  id: string;
  loaded: LoadedChat;
  /** Called when a new chat has got its first message. */
  onCreated(): void;
}

export function Chat({ id, loaded, onCreated }: Props) {
  const chat = useResumableChat(id, loaded, onCreated);
  const { messages, error, isBusy, isLost } = chat;
  const scroller = useRef<HTMLElement>(null);
  const isAtEnd = useRef(true);

  useLayoutEffect(() => {
    if (isAtEnd.current) scroller.current?.scrollTo(0, scroller.current.scrollHeight);
  });

  const onScroll = () => {
    const { scrollTop, clientHeight, scrollHeight } = scroller.current!;
    isAtEnd.current = scrollTop + clientHeight > scrollHeight - 80;
  };

  useEffect(() => {
    if (!isBusy) return;
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.isComposing) void chat.stop();
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, [isBusy]);

  const send = (text: string) => {
    isAtEnd.current = true;
    chat.send(text);
  };

  return (
    <>
      <main ref={scroller} onScroll={onScroll} tabIndex={0} aria-label="Conversation">
        <Messages
          messages={messages}
          isBusy={isBusy}
          isSettled={!isBusy && !error}
          resumedAt={chat.resumedAt}
          onRegenerate={chat.regenerate}
        />
        {messages.length === 0 && (
          <div className="welcome">
            <p>Ask something, and reload the page while the answer is being written.</p>
            {SUGGESTIONS.map((text) => (
              <button key={text} onClick={() => send(text)}>
                {text}
              </button>
            ))}
          </div>
        )}
      </main>
      <p role="status" className="quiet">
        {isBusy ? "The answer is being written. Escape stops it." : ""}
      </p>
      <footer>
        {error && (
          <p role="alert" className="problem">
            <span>{isLost ? "Not connected, trying again." : sentence(error.message)}</span>
            <button onClick={chat.retry}>{isLost ? "Try now" : "Retry"}</button>
          </p>
        )}
        <Composer
          isBusy={isBusy}
          isStopping={chat.isStopping}
          canSend={!isBusy && !isLost}
          onSend={send}
          onStop={chat.stop}
        />
      </footer>
    </>
  );
}

/** The server says what is wrong without a capital letter and a full stop. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}
