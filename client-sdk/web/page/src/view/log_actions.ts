/** What can be done with a message: unfold it, send it again, see who has read it. */

export interface LogActions {
  retry(id: string): void;
  discard(id: string): void;
  readersOf(seq: number): string[];
  /** A row has another height. */
  resized(): void;
}

const READERS_MAX = 12;

export function listenToRows(rows: HTMLElement, actions: LogActions): void {
  rows.addEventListener("click", (event) => {
    const button = (event.target as Element).closest("button");
    const row = button?.closest<HTMLElement>(".msg");
    if (!button || !row) return;
    if (button.classList.contains("more")) {
      unfold(row, button);
      actions.resized();
    }
    const { id } = row.dataset;
    if (id !== undefined && button.classList.contains("retry")) actions.retry(id);
    if (id !== undefined && button.classList.contains("discard")) actions.discard(id);
    // The button goes with its row: the focus must not fall to nowhere.
    if (id !== undefined) rows.closest<HTMLElement>("[role=log]")?.focus({ preventScroll: true });
  });
  rows.addEventListener("pointerover", (event) => {
    const meta = (event.target as Element).closest<HTMLElement>(".own .meta");
    const seq = Number(meta?.closest<HTMLElement>(".msg")?.dataset.seq ?? 0);
    if (meta && seq > 0) meta.title = readersText(actions.readersOf(seq));
  });
}

function unfold(row: HTMLElement, button: HTMLElement): void {
  const folded = row.classList.toggle("folded");
  button.textContent = folded ? "Show all" : "Show less";
  button.setAttribute("aria-expanded", String(!folded));
}

function readersText(readers: readonly string[]): string {
  if (readers.length === 0) return "Stored, not read yet";
  const more = readers.length - READERS_MAX;
  return `Read by ${readers.slice(0, READERS_MAX).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
