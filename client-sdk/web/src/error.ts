/** Errors: what happened, and whether trying again can help. */
import type { MessageId } from "./api.js";

/** Why a connection, a read or a call ended. */
export class QuothError extends Error {
  override readonly name: string = "QuothError";

  /**
   * @param code A name of section 7 of the protocol (`FORBIDDEN`, `OVERLOADED`, …), `0x…` for a number that it does not have, or
   *   one of the client's own: `CLOSED` (the application closed the client), `LOST` (no connection, or it broke), `TIMED_OUT`,
   *   `ABORTED`, `NO_TOKEN` (the token function failed), `BAD_ARGUMENT`.
   * @param message For people.
   * @param retryable Whether the same call can succeed later.
   */
  constructor(
    readonly code: string,
    message: string,
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * What is known of a message whose send failed.
 *
 * - `not_sent`: it never left this client. It is not stored.
 * - `refused`: the server did not store it.
 * - `unknown`: it may be stored or not. Sending it again with the same `id` is safe: it is stored once in every case.
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
    options?: ErrorOptions,
  ) {
    super(code, message, retryable, options);
  }
}
