import { useCallback, useEffect, useState } from "react";
import { loadChat, newId, NO_CHAT, type LoadedChat } from "./api";
import { Chat } from "./Chat";
import { Sidebar } from "./Sidebar";
import { useChats } from "./useChats";
import { useMenu } from "./useMenu";

/** What is shown: a chat as it was when it was opened, or why it cannot be. */
type Shown = { id: string; loaded: LoadedChat } | { id: string; problem: string };

const inUrl = () => decodeURIComponent(location.hash.slice(1));

export function App() {
  const chats = useChats();
  const menu = useMenu();
  const [shown, setShown] = useState<Shown | null>(null);
  const listed = chats.list.find(({ id }) => id === shown?.id);
  const loaded = shown && "loaded" in shown ? shown.loaded : NO_CHAT;
  const title = (listed ?? loaded).metadata.title ?? "New chat";

  const open = useCallback(async (id: string) => {
    if (id === "" || id === "new") return setShown({ id: newId("chat"), loaded: NO_CHAT });
    try {
      const loaded = await loadChat(id);
      if (inUrl() !== id) return; // another one was opened meanwhile
      if (loaded) setShown({ id, loaded });
      else location.replace("#new");
    } catch {
      if (inUrl() === id) setShown({ id, problem: "The server cannot be reached." });
    }
  }, []);

  useEffect(() => {
    const onHashChange = () => void open(inUrl());
    onHashChange();
    window.addEventListener("hashchange", onHashChange);
    return () => window.removeEventListener("hashchange", onHashChange);
  }, [open]);

  useEffect(() => {
    document.title = title === "New chat" ? "Resumable chat" : title;
  }, [title]);

  /** A new chat has got its first message, so it has a URL now. Nothing is to be loaded. */
  const onCreated = (id: string) => {
    if (inUrl() !== id) history.pushState(null, "", `#${id}`);
    chats.refresh();
  };

  const onDelete = (id: string) => {
    if (id === shown?.id) location.hash = "#new";
    chats.remove(id);
  };

  return (
    <>
      <Sidebar chats={chats} menu={menu} current={shown?.id ?? null} onDelete={onDelete} />
      <div className="page" inert={menu.isOpen}>
        <header>
          <button ref={menu.button} className="menu" aria-expanded={menu.isOpen} aria-controls="side" onClick={menu.open}>
            Chats
          </button>
          <h1>{title}</h1>
        </header>
        {shown && "loaded" in shown && (
          <Chat key={shown.id} id={shown.id} loaded={shown.loaded} onCreated={() => onCreated(shown.id)} />
        )}
        {shown && "problem" in shown && (
          <main className="welcome">
            <p role="alert">{shown.problem}</p>
            <button onClick={() => void open(shown.id)}>Try again</button>
          </main>
        )}
      </div>
    </>
  );
}
