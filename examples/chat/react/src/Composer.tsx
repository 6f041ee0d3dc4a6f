import { useEffect, useRef, type FormEvent, type KeyboardEvent } from "react";

interface Props {
  isBusy: boolean;
  isStopping: boolean;
  canSend: boolean;
  onSend(text: string): void;
  onStop(): void;
}

export function Composer({ isBusy, isStopping, canSend, onSend, onStop }: Props) {
  const form = useRef<HTMLFormElement>(null);
  const input = useRef<HTMLTextAreaElement>(null);

  // Not where that opens a keyboard that nobody asked for.
  const focus = () => {
    if (matchMedia("(pointer: fine)").matches) input.current?.focus();
  };
  useEffect(focus, []);

  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    const text = input.current!.value.trim();
    if (!text || !canSend) return;
    form.current!.reset();
    onSend(text);
    focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    form.current!.requestSubmit();
  };

  const stop = () => {
    onStop();
    focus();
  };

  return (
    <form ref={form} onSubmit={onSubmit}>
      <label>
        <span className="quiet">Message</span>
        <textarea
          ref={input}
          rows={1}
          maxLength={4000}
          placeholder="Message"
          enterKeyHint="send"
          onKeyDown={onKeyDown}
        />
      </label>
      {isBusy ? (
        <button key="stop" type="button" onClick={stop} disabled={isStopping}>
          Stop
        </button>
      ) : (
        <button key="send" className="primary" disabled={!canSend}>
          Send
        </button>
      )}
    </form>
  );
}
