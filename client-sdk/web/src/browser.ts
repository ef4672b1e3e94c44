/** What a browser tells a page about its network and its life. Elsewhere none of it exists, and nothing is done. */

export interface PageLife {
  /** The network or the page has come back. */
  wake(): void;
  /** The connection may be dead. */
  probe(): void;
  /** The page is put away and may be taken out again: it must not hold a connection meanwhile. */
  suspend(): void;
}

/** Listens until the result is called. */
export function watchPage(life: PageLife): () => void {
  if (typeof document === "undefined" || typeof addEventListener !== "function") return () => {};
  const wake = () => life.wake();
  const suspend = () => life.suspend();
  const stops = [
    listen(globalThis, "online", wake),
    listen(globalThis, "offline", () => life.probe()),
    listen(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") life.wake();
    }),
    // A page that is not kept is gone with its connection, and needs no help.
    listen(globalThis, "pagehide", (event) => {
      if ((event as PageTransitionEvent).persisted) life.suspend();
    }),
    listen(globalThis, "pageshow", wake),
    listen(document, "freeze", suspend),
    listen(document, "resume", wake),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

function listen(target: EventTarget, type: string, listener: (event: Event) => void): () => void {
  target.addEventListener(type, listener);
  return () => target.removeEventListener(type, listener);
}
