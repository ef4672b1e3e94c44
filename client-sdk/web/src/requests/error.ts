import { type Outcome, QuothError } from "../error.js";

/** Why a request is not done, or not known to be. */
export class RequestError extends QuothError {
  override readonly name: string = "RequestError";

  constructor(
    cause: QuothError,
    readonly outcome: Outcome,
  ) {
    const text = { not_sent: "the request was not sent: ", refused: "", unknown: "it is unknown whether this was done: " };
    super(cause.code, text[outcome] + cause.message, cause.retryable, { cause, retryAfterMs: cause.retryAfterMs });
  }
}
