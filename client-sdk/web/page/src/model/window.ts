/**
 * Which entries are in the document: a stretch of indices into what is held. Its size is bounded, so a
 * conversation of any length costs the same to lay out. It moves in steps when the reader comes near an edge;
 * the view keeps the place.
 */

export interface Window {
  from: number;
  /** Excluded. */
  to: number;
}

export const WINDOW_MAX = 240;
export const WINDOW_STEP = 80;

/** The last entries, where a conversation is read live. */
export function windowAtEnd(length: number, size = WINDOW_MAX / 2): Window {
  return { from: Math.max(0, length - size), to: length };
}

/** Around an index that is to be seen. */
export function windowAround(index: number, length: number, size = WINDOW_MAX / 2): Window {
  const from = Math.max(0, Math.min(index - Math.floor(size / 2), length - size));
  return { from, to: Math.min(length, from + size) };
}

export function slideUp(window: Window, step = WINDOW_STEP, max = WINDOW_MAX): Window {
  const from = Math.max(0, window.from - step);
  return { from, to: Math.min(window.to, from + max) };
}

export function slideDown(window: Window, length: number, step = WINDOW_STEP, max = WINDOW_MAX): Window {
  const to = Math.min(length, window.to + step);
  return { from: Math.max(window.from, to - max), to };
}

/**
 * Live growth while the reader is at the end: the window follows it. It lets go of its front in steps and not
 * entry by entry, so that the nodes at the front are not touched for each message.
 */
export function followEnd(window: Window, length: number, step = WINDOW_STEP, max = WINDOW_MAX): Window {
  const from = Math.min(window.from, length);
  return length - from <= max ? { from, to: length } : { from: length - (max - step), to: length };
}
