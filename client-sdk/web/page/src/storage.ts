/**
 * The browser's storages, which may be forbidden or full. Then nothing is kept, and nothing else changes:
 * whoever stores something here can do without it.
 */

export interface Storage {
  get(key: string): string | undefined;
  /** `undefined` forgets. */
  set(key: string, value: string | undefined): void;
}

function storage(kind: "localStorage" | "sessionStorage"): Storage {
  return {
    get(key) {
      try {
        return globalThis[kind].getItem(key) ?? undefined;
      } catch {
        return undefined;
      }
    },
    set(key, value) {
      try {
        if (value === undefined) globalThis[kind].removeItem(key);
        else globalThis[kind].setItem(key, value);
      } catch {
        // As said above.
      }
    },
  };
}

/** Of this browser, shared by its windows. */
export const kept = storage("localStorage");
/** Of this window: over its reloads and no longer. */
export const windowKept = storage("sessionStorage");
