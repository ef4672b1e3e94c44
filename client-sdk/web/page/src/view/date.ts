/** The dialog that asks for a day to jump to. */

import { byId } from "./dom.js";

export class DateView {
  private readonly dialog = byId<HTMLDialogElement>("date");
  private readonly day = byId<HTMLInputElement>("date-day");

  constructor(jump: (day: string) => void) {
    byId<HTMLFormElement>("date-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.dialog.close();
      jump(this.day.value);
    });
  }

  show(): void {
    this.day.max = localDay(new Date());
    this.day.value ||= this.day.max;
    this.dialog.showModal();
  }
}

/** As a field for days has it. */
function localDay(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
