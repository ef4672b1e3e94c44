/** Dialogs close by Escape, by their button, and by a click beside them. */

import { byId } from "./dom.js";

export function closeByClickBeside(dialog: HTMLDialogElement): void {
  dialog.addEventListener("click", (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside =
      event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) dialog.close();
  });
}

export function help(): void {
  const dialog = byId<HTMLDialogElement>("help");
  if (!dialog.open) dialog.showModal();
}

export const anyDialogOpen = (): boolean => document.querySelector("dialog[open]") !== null;
