/**
 * Whether the server is still there. A browser shows no other sign of a dead network than silence, so the
 * client asks.
 */

/** Silence that is a reason to ask. */
const SILENCE_MS = 10_000;
/** The same when something was sent into it: an answer is due. */
const ANSWER_MS = 2_000;
/** How long the server may take to say anything at all when asked. Outcome: it counts as gone. */
const DEAD_MS = 5_000;
/** The round trip is measured at least so often. */
const MEASURE_MS = 30_000;

/** How often to look. */
export const LOOK_INTERVAL_MS = 1_000;

export class Liveness {
  private lastPing = { n: 0, atMs: -Infinity };
  private receivedAtMs: number;
  /** When something was sent that nothing has followed. */
  private sentAtMs: number | undefined;

  constructor(nowMs: number) {
    this.receivedAtMs = nowMs;
  }

  received(nowMs: number): void {
    this.receivedAtMs = nowMs;
    this.sentAtMs = undefined;
  }

  sent(nowMs: number): void {
    this.sentAtMs ??= nowMs;
  }

  /** What to do now: send a ping, or give the connection up. */
  look(nowMs: number): "ping" | "dead" | undefined {
    if (this.isWaiting) return nowMs - this.lastPing.atMs >= DEAD_MS ? "dead" : undefined;
    const isSilent = nowMs - this.receivedAtMs >= SILENCE_MS;
    const isLate = this.sentAtMs !== undefined && nowMs - this.sentAtMs >= ANSWER_MS;
    return isSilent || isLate || nowMs - this.lastPing.atMs >= MEASURE_MS ? "ping" : undefined;
  }

  /** The number of the ping that is sent now; `undefined` when one is on its way. */
  ping(nowMs: number): number | undefined {
    if (this.isWaiting) return undefined;
    this.lastPing = { n: this.lastPing.n + 1, atMs: nowMs };
    return this.lastPing.n;
  }

  /** The round trip, in milliseconds; `undefined` when the answer is to an older ping. */
  pong(n: number, nowMs: number): number | undefined {
    return n === this.lastPing.n ? nowMs - this.lastPing.atMs : undefined;
  }

  /** Nothing has come since the last ping. */
  private get isWaiting(): boolean {
    return this.receivedAtMs <= this.lastPing.atMs;
  }
}
