import { useEffect, useRef } from "react";
import type { Chats } from "./useChats";
import type { Menu } from "./useMenu";

interface Props {
  chats: Chats;
  menu: Menu;
  current: string | null;
  onDelete(id: string): void;
}

export function Sidebar({ chats, menu, current, onDelete }: Props) {
  const first = useRef<HTMLAnchorElement>(null);
  useEffect(() => {
    if (menu.isOpen) first.current?.focus();
  }, [menu.isOpen]);

  const ask = (id: string, title: string) => {
    if (confirm(`Delete “${title}”?`)) onDelete(id);
  };

  return (
    <>
      {menu.isOpen && <div className="backdrop" onClick={menu.close} />}
      <nav id="side" aria-label="Chats" className={menu.isOpen ? "open" : ""}>
        <a ref={first} className="button" href="#new" onClick={menu.close}>
          New chat
        </a>
        <ul>
          {chats.list.map(({ id, metadata: { title = id } }) => (
            <li key={id}>
              <a href={`#${id}`} aria-current={id === current ? "page" : undefined} title={title} onClick={menu.close}>
                {title}
              </a>
              <button aria-label={`Delete ${title}`} onClick={() => ask(id, title)}>
                <span aria-hidden="true">×</span>
              </button>
            </li>
          ))}
        </ul>
        {chats.hasMore && <button onClick={chats.showMore}>Older chats</button>}
        {chats.problem && (
          <p role="alert">
            {chats.problem} <button onClick={chats.refresh}>Try again</button>
          </p>
        )}
      </nav>
    </>
  );
}
