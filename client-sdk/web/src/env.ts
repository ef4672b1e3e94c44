/** What the machines need of the world. Tests give another one. */
export interface Env {
  /** Milliseconds on a clock that only goes forward. */
  now(): number;
  /** Runs `action` once, that much later; the result cancels it. */
  after(delayMs: number, action: () => void): () => void;
  /** In [0, 1). */
  random(): number;
}

export const realEnv: Env = {
  now: () => performance.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};
