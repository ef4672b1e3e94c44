import type { Unsubscribe } from "./api.js";

/** Functions of the application that want to hear of something. */
export class Listeners<T> {
  private readonly all = new Set<{ call: (value: T) => void }>();

  add(call: (value: T) => void): Unsubscribe {
    // An entry of its own, so that a function that was added twice is called twice.
    const entry = { call };
    this.all.add(entry);
    return () => void this.all.delete(entry);
  }

  /** Tells all. One that throws disturbs nobody: its error is reported as that of a task of its own. */
  tell(value: T): void {
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
