import type { RefObject } from 'preact';
import { useLayoutEffect } from 'preact/hooks';

/** Moves the focus into what opens, and back to what opened it when that closes. A
 * browser heeds autofocus once in the life of a page: after that, what is typed would go
 * to the keys of the page. */
export function useFocus(open: boolean, field: RefObject<HTMLElement | null>, opener: RefObject<HTMLElement | null>) {
  useLayoutEffect(() => {
    if (!open) return;
    field.current?.focus();
    return () => {
      if (document.activeElement === document.body) opener.current?.focus(); // who has gone elsewhere stays there
    };
  }, [open]);
}
