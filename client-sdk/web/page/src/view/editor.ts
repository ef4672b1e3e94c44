/** Editing a message where it stands. */

import { byteLength } from "../model/text.js";
import { h, setText } from "./dom.js";

const BODY_BYTES_MAX = 65_536;

export interface EditorHooks {
  /** Gives what is wrong, or nothing when it is saved. */
  save(text: string): Promise<string | undefined>;
  /** The row stands as before. */
  over(): void;
}

export function editIn(row: HTMLElement, text: string, hooks: EditorHooks): void {
  if (row.classList.contains("editing")) return;
  const field = h("textarea", { "aria-label": "Edit the message", dir: "auto" });
  field.value = text;
  field.rows = Math.min(10, text.split("\n").length + 1);
  const problem = h("span", { class: "problem", role: "alert" });
  const cancel = h("button", { class: "quiet", type: "button" }, "Cancel");
  const form = h("form", { class: "editor" }, field, h("p", { class: "does" }, problem, cancel, h("button", { class: "quiet" }, "Save")));
  let isSaving = false;
  const end = (): void => {
    form.remove();
    row.classList.remove("editing");
    hooks.over();
    row.focus({ preventScroll: true });
  };
  const save = async (): Promise<void> => {
    const now = field.value.replace(/\s+$/u, "");
    if (isSaving) return;
    if (now === text) return end();
    if (now.trim() === "") return setText(problem, "Delete the message instead.");
    if (byteLength(now) > BODY_BYTES_MAX) return setText(problem, "Too long: a message has at most 65,536 bytes.");
    isSaving = true;
    const wrong = await hooks.save(now);
    isSaving = false;
    if (wrong === undefined) end();
    else setText(problem, wrong);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void save();
  });
  cancel.addEventListener("click", end);
  form.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Escape") end();
    if (event.key !== "Enter" || event.shiftKey || event.target !== field) return;
    event.preventDefault();
    void save();
  });
  row.querySelector(".tools")?.remove();
  row.classList.add("editing");
  row.querySelector(".bubble")?.append(form);
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}
