import { useEffect, useRef, useState, type RefObject } from "react";

export interface Menu {
  isOpen: boolean;
  button: RefObject<HTMLButtonElement | null>;
  open(): void;
  close(): void;
}

/** On a narrow screen the side bar is a drawer: Escape closes it, and the focus goes back to where it came from. */
export function useMenu(): Menu {
  const [isOpen, setIsOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (!isOpen) return;
    const close = () => setIsOpen(false);
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // or it would stop the answer, too
      close();
    };
    const isWide = matchMedia("(min-width: 44.01rem)");
    window.addEventListener("keydown", onKeyDown, true);
    isWide.addEventListener("change", close);
    return () => {
      window.removeEventListener("keydown", onKeyDown, true);
      isWide.removeEventListener("change", close);
      button.current?.focus();
    };
  }, [isOpen]);

  return { isOpen, button, open: () => setIsOpen(true), close: () => setIsOpen(false) };
}
