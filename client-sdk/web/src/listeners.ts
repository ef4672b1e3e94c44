import type { Unsubscribe } from "./api.js";

/** Functions of the application that want to hear of something. */
export class Listeners<T> {
  private readonly all = new Set<{ call: (value: T) => void }>();
  /** What is told while something else is: every listener hears everything in the same order. */
  private readonly waiting: T[] = [];

  add(call: (value: T) => void): Unsubscribe {
    // An entry of its own, so that a function that was added twice is called twice.
    const entry = { call };
    this.all.add(entry);
    return () => void this.all.delete(entry);
  }

  tell(value: T): void {
    if (this.waiting.push(value) > 1) return;
    for (; this.waiting.length > 0; this.waiting.shift()) this.tellAll(this.waiting[0] as T);
  }

  /** One that throws disturbs nobody: its error is reported as that of a task of its own. */
  private tellAll(value: T): void {
    for (const { call } of [...this.all]) {
      try {
        call(value);
      } catch (error) {
        setTimeout(() => {
          throw error;
        });
      }
    }
  }
}
