/** How long to wait before the next attempt: full jitter, so that clients that lost a server together do not come back together. */

/** Upper bound of the first wait. */
const BASE_MS = 500;
/** Upper bound of every wait that the server did not ask for. */
const CAP_MS = 30_000;
/** A connection that has held for so long starts over with short waits. */
const STABLE_AFTER_MS = 30_000;

/** What the server has failed to do so often in a row is told to the application: a fault that passes is over by then. */
export const FAILURES_BEFORE_TOLD = 4;

export class Backoff {
  /** Failed attempts since a connection has held. */
  attempt = 0;

  /** The wait before the next attempt: random in [0, min(cap, base × 2^attempt)], on top of what the server asked for. */
  nextDelayMs(random: () => number, retryAfterMs = 0): number {
    const bound = Math.min(CAP_MS, BASE_MS * 2 ** this.attempt);
    this.attempt += 1;
    return retryAfterMs + bound * random();
  }

  /** Told how long a connection has held, once it is gone. */
  heldFor(durationMs: number): void {
    if (durationMs >= STABLE_AFTER_MS) this.attempt = 0;
  }
}
