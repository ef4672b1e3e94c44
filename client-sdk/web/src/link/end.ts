/** Why a connection, or an attempt at one, has ended, and what follows from it. */
import { closedError, errorOfCode, lostError, protocolError, QuothError } from "../error.js";
import { type Action, actionOf, codeOfStatus } from "../wire/codes.js";

export interface SessionEnd {
  reason: QuothError;
  action: Action;
  /** The server does not want to be asked before this has passed. */
  retryAfterMs: number;
}

export function lost(text: string): SessionEnd {
  return { reason: lostError(text), action: "retry", retryAfterMs: 0 };
}

export function broken(text: string): SessionEnd {
  return { reason: protocolError(text), action: "stop", retryAfterMs: 0 };
}

export function closed(): SessionEnd {
  return { reason: closedError(), action: "nothing", retryAfterMs: 0 };
}

export function told(code: number, text = "", retryAfterMs = 0): SessionEnd {
  return { reason: errorOfCode(code, "the server closed the connection", text), action: actionOf(code), retryAfterMs };
}

/** The end that the status of a WebSocket tells. */
export function endOfStatus(status: number, text: string): SessionEnd {
  const code = codeOfStatus(status);
  return code === undefined ? lost(`the connection was lost (status ${status})`) : told(code, text);
}

/** The application's function gave no token. It says itself whether asking again can help. */
export function noToken(error: unknown): SessionEnd {
  if (error instanceof QuothError) return { reason: error, action: error.retryable ? "retry" : "stop", retryAfterMs: 0 };
  const text = `no token: ${error instanceof Error ? error.message : String(error)}`;
  return { reason: new QuothError("NO_TOKEN", text, true, { cause: error }), action: "retry", retryAfterMs: 0 };
}
