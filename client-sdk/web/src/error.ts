/** Errors: what happened, and whether trying again can help. */
import type { MessageId } from "./api.js";
import { actionOf, nameOf } from "./wire/codes.js";

/** Why a connection, a read or a call ended. */
export class QuothError extends Error {
  override readonly name: string = "QuothError";

  /**
   * @param code A name of section 7 of the protocol (`FORBIDDEN`, `OVERLOADED`, …), `0x…` for a number that
   *   it does not have, or one of the client's own: `CLOSED` (the application closed the client), `LOST` (no
   *   connection, or it broke), `TIMED_OUT`, `ABORTED`, `NO_TOKEN` (the token function failed),
   *   `BAD_ARGUMENT`.
   * @param message For people.
   * @param retryable Whether the same call can succeed later.
   */
  constructor(
    readonly code: string,
    message: string,
    readonly retryable: boolean,
    options?: ErrorOptions & { retryAfterMs?: number | undefined },
  ) {
    super(message, options);
    this.retryAfterMs = options?.retryAfterMs;
  }

  /**
   * When the server takes the same again (slow mode, a mute, a rate, or what it has to ask does not answer), in
   * milliseconds from when the error came.
   */
  readonly retryAfterMs: number | undefined;
}

/**
 * What is known of a message or a request that failed.
 *
 * - `not_sent`: it never left this client. It is not stored, or not done.
 * - `refused`: the server did not store it, or do it.
 * - `unknown`: it may be or not. Sending a message again with the same `id` is safe: it is stored once in
 *   every case. Of requests, only a `create` without a name and an `invite` are done twice.
 */
export type Outcome = "not_sent" | "refused" | "unknown";

/** Why a send has no ack. */
export class SendError extends QuothError {
  override readonly name: string = "SendError";

  constructor(
    code: string,
    message: string,
    retryable: boolean,
    readonly outcome: Outcome,
    /** The message's id, to send it again under; missing when it never got one. */
    readonly id: MessageId | undefined,
    options?: ErrorOptions & { retryAfterMs?: number | undefined },
  ) {
    super(code, message, retryable, options);
  }
}

/** What a server has said. `what` was going on, for people. */
export function errorOfCode(code: number, what: string, text = "", retryAfterMs = 0): QuothError {
  const action = actionOf(code);
  const again = retryAfterMs && retryAfterMs < 0xffff_ffff && `; again in ${Math.ceil(retryAfterMs / 1_000)} s`;
  const message = `${what}: ${nameOf(code)}${text && `: ${printable(text)}`}${again || ""}`;
  const options = { retryAfterMs: retryAfterMs || undefined };
  return new QuothError(nameOf(code), message, action === "retry" || action === "new_token", options);
}

export function closedError(): QuothError {
  return new QuothError("CLOSED", "the client was closed", false);
}

export function lostError(text: string): QuothError {
  return new QuothError("LOST", text, true);
}

export function protocolError(text: string): QuothError {
  return new QuothError("PROTOCOL", `the server broke the protocol: ${text}`, false);
}

/** Text of a peer with its control characters escaped, so that no log or terminal is at its mercy. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}
