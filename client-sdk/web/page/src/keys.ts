/** The keys that work wherever the focus is. */

import { anyDialogOpen } from "./view/dialogs.js";

export interface KeyHooks {
  neighbour(step: number): void;
  openField(): void;
  escape(): void;
  write(): void;
  cycle(step: number): void;
  page(step: number): void;
  help(): void;
}

export function listenToKeys(hooks: KeyHooks): void {
  document.addEventListener("keydown", (event) => {
    if (anyDialogOpen() || event.isComposing) return;
    const ctrl = event.ctrlKey || event.metaKey;
    const action = actionOf(event, ctrl, hooks);
    if (action) {
      event.preventDefault();
      action();
    } else if (beginsText(event, ctrl)) {
      // No preventDefault: the key goes into the field that has the focus by then.
      hooks.write();
    }
  });
}

function actionOf(event: KeyboardEvent, ctrl: boolean, hooks: KeyHooks): (() => void) | undefined {
  if (event.altKey && !ctrl && event.key === "ArrowUp") return () => hooks.neighbour(-1);
  if (event.altKey && !ctrl && event.key === "ArrowDown") return () => hooks.neighbour(1);
  if (ctrl && !event.altKey && event.key.toLowerCase() === "k") return () => hooks.openField();
  if (ctrl && !event.altKey && event.key === "/") return () => hooks.help();
  if ((event.key === "PageUp" || event.key === "PageDown") && leavesPaging(event.target))
    return () => hooks.page(event.key === "PageUp" ? -1 : 1);
  if (event.key === "Escape") return () => hooks.escape();
  if (event.key === "F6") return () => hooks.cycle(event.shiftKey ? -1 : 1);
  return undefined;
}

/** A text that fits its field has no use for these keys: they page the messages. */
function leavesPaging(target: EventTarget | null): boolean {
  return target instanceof HTMLTextAreaElement && target.scrollHeight <= target.clientHeight;
}

/** Typing with the focus on the messages, or on nothing, means to write. */
function beginsText(event: KeyboardEvent, ctrl: boolean): boolean {
  const at = document.activeElement;
  return !ctrl && !event.altKey && event.key.length === 1 && event.key !== " " && (at === document.body || at?.id === "log");
}
