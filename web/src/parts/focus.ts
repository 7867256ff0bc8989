import { useLayoutEffect, useRef } from 'preact/hooks';

/** Moves the focus into what opens, and back to what opened it when that closes. A
 * browser heeds autofocus once in the life of a page: after that, what is typed would go
 * to the keys of the page. */
export function useFocus<Field extends HTMLElement>(open: boolean) {
  const field = useRef<Field>(null), opener = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => {
    if (!open) return;
    field.current?.focus();
    return () => {
      if (document.activeElement === document.body) opener.current?.focus(); // who has gone elsewhere stays there
    };
  }, [open]);
  return { field, opener };
}
