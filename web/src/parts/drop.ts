// Files that are dragged onto the page.
import type { Signal } from '@preact/signals';

const hasFiles = (e: DragEvent) => !!e.dataTransfer?.types.includes('Files');

/** The handlers of an element that takes files; over: while they are held above it. */
export const takesFiles = (over: Signal<boolean>, take: (files: FileList) => void) => ({
  onDragOver: (e: DragEvent) => {
    if (!hasFiles(e)) return;
    e.preventDefault();
    over.value = true;
  },
  onDragLeave: (e: DragEvent) => {
    if (!(e.currentTarget as Node).contains(e.relatedTarget as Node | null)) over.value = false;
  },
  onDrop: (e: DragEvent) => {
    if (!hasFiles(e)) return;
    e.preventDefault();
    over.value = false;
    take(e.dataTransfer!.files);
  },
});

// Anywhere else a browser would open the file in place of the page, and what is written there.
function leave(e: DragEvent) {
  if (!hasFiles(e) || e.defaultPrevented || (e.target as Element).closest?.('input[type=file]')) return;
  e.preventDefault();
  e.dataTransfer!.dropEffect = 'none';
}
addEventListener('dragover', leave);
addEventListener('drop', leave);
