import { useChat } from "@ai-sdk/react";
import type { ChatStatus } from "ai";
import { useEffect, useRef, useState } from "react";
import { loadChat, newId, NO_CHAT, Refusal, stopAnswer, type LoadedChat, type Message } from "./api";
import { newTransport } from "./transport";

const RETRY = 2000; // ms between attempts to reach a server that is away

/** `useChat`, with what a page needs that may be reloaded or cut off at any moment, and is not the only one. */
export function useResumableChat(id: string, loaded: LoadedChat, onCreated: () => void) {
  const streamId = useRef(loaded.activeStreamId);
  const [resumedAt, setResumedAt] = useState<number | null>(null);
  const [isOpening, setIsOpening] = useState(loaded.activeStreamId !== null);
  const [isStopping, setIsStopping] = useState(false);
  const [transport] = useState(() =>
    newTransport({
      onCreated,
      onStart: (started) => {
        streamId.current = started;
        setResumedAt(null);
      },
      onResume: (resumed, chunks) => {
        streamId.current = resumed;
        setResumedAt(chunks);
      },
      onNothing: () => {
        const wasExpected = streamId.current !== null;
        streamId.current = null;
        setIsOpening(false);
        if (wasExpected) setIsBehind(true); // it ended while we were away
      },
    }),
  );
  const chat = useChat<Message>({
    id,
    messages: loaded.messages,
    transport,
    // Only if there is something: to hear that there is not sets the status to ready, even when a message was sent meanwhile.
    resume: loaded.activeStreamId !== null,
    throttle: 50, // ms; a replay brings hundreds of chunks at once
    generateId: () => newId("msg"),
  });
  const { status, error } = chat;
  const isBusy = isBusyIn(status) || isOpening;
  const isLost = status === "error" && isTemporary(error);
  const latest = useRef(chat);
  useEffect(() => {
    latest.current = chat;
  });

  /** Show what the server has, and follow the answer that is being written. Returns whether nothing is left to ask. */
  async function catchUp({ isRetry = false } = {}): Promise<boolean> {
    const found = (await loadChat(id)) ?? NO_CHAT;
    const { status, messages, setMessages, sendMessage, resumeStream, clearError } = latest.current;
    if (isBusyIn(status)) return true; // something else has begun meanwhile
    const last = messages.at(-1);
    if (last?.role === "user" && !has(found, last)) {
      if (isRetry) void sendMessage(); // it did not get through: once more, under the same id
      return isRetry;
    }
    if (found.activeStreamId === null || !found.messages.every((message) => has({ messages }, message))) {
      setMessages(found.messages);
    }
    if (found.activeStreamId !== null) {
      void resumeStream();
      return true;
    }
    if (isRetry) clearError();
    const end = found.messages.at(-1);
    return end?.role === "assistant" && !end.metadata?.interrupted;
  }

  // After the end of an answer the saved one is shown: with its own id, and marked if it broke off. After the end of a
  // connection it is looked whether there is more to come.
  const [isBehind, setIsBehind] = useState(false);
  const wasBusy = useRef(false);
  useEffect(() => {
    if (status !== "ready") setIsOpening(false);
    if (!isBusy && (wasBusy.current || isLost)) setIsBehind(true);
    wasBusy.current = isBusy;
    if (!isBusy) setIsStopping(false);
  }, [isBusy, isLost, status, error]);

  useEffect(() => {
    if (!isBehind) return;
    let timer = setTimeout(attempt, isLost ? RETRY : 0);
    async function attempt() {
      clearTimeout(timer);
      try {
        await catchUp({ isRetry: isLost });
        setIsBehind(false);
      } catch {
        timer = setTimeout(attempt, RETRY);
      }
    }
    window.addEventListener("online", attempt);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("online", attempt);
    };
  }, [isBehind, isLost]);

  const stop = async () => {
    setIsStopping(true);
    try {
      await stopAnswer(id, streamId.current);
    } catch {
      setIsStopping(false); // to be tried again
    }
  };

  const retry = async () => {
    try {
      if (!(await catchUp({ isRetry: true }))) await chat.regenerate();
    } catch (problem) {
      console.info(problem); // the error is still shown
    }
  };

  const send = (text: string) => void chat.sendMessage({ text });
  const regenerate = () => void chat.regenerate();
  return { messages: chat.messages, error, isBusy, isLost, isStopping, resumedAt, send, stop, regenerate, retry };
}

function isBusyIn(status: ChatStatus): boolean {
  return status === "submitted" || status === "streaming";
}

/** Whether it may work in a moment: there is no connection, or the server is away. */
function isTemporary(error: Error | undefined): boolean {
  return error instanceof TypeError || (error instanceof Refusal && error.status >= 500);
}

function has({ messages }: Pick<LoadedChat, "messages">, { id }: Message): boolean {
  return messages.some((message) => message.id === id);
}
