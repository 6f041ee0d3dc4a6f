import { useCallback, useEffect, useState } from "react";
import { deleteChat, listChats, type ChatInfo } from "./api";

export interface Chats {
  list: ChatInfo[];
  hasMore: boolean;
  problem: string | null;
  refresh(): void;
  showMore(): void;
  remove(id: string): void;
}

/** The list of one's chats, the newest first. */
export function useChats(): Chats {
  const [list, setList] = useState<ChatInfo[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  const load = useCallback(async (after: string | null) => {
    try {
      const page = await listChats(after);
      setList((list) => (after ? [...list, ...page.chats] : page.chats));
      setNext(page.next);
      setProblem(null);
    } catch {
      setProblem("The list could not be loaded.");
    }
  }, []);

  useEffect(() => void load(null), [load]);

  const remove = async (id: string) => {
    try {
      await deleteChat(id);
      setList((list) => list.filter((chat) => chat.id !== id));
    } catch {
      setProblem("The chat could not be deleted.");
    }
  };

  return { list, hasMore: next !== null, problem, refresh: () => load(null), showMore: () => load(next), remove };
}
