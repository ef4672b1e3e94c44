/** The protocol's codes (section 7), and what a client does about each. */

export const Code = {
  CLOSED: 0x000,
  CANCELLED: 0x001,
  REPLACED: 0x002,
  GOING_AWAY: 0x100,
  OVERLOADED: 0x101,
  INTERNAL: 0x102,
  STORE_FAILED: 0x103,
  HELLO_TIMEOUT: 0x104,
  RATE_LIMITED: 0x105,
  SLOW_MODE: 0x106,
  UNAVAILABLE: 0x107,
  STORAGE_FULL: 0x108,
  TIMED_OUT: 0x109,
  TOKEN_EXPIRED: 0x200,
  TOKEN_REJECTED: 0x201,
  TOKEN_REVOKED: 0x202,
  PROTOCOL: 0x300,
  UNSUPPORTED_VERSION: 0x301,
  FRAME_TOO_LARGE: 0x302,
  FORBIDDEN: 0x304,
  ALREADY_OPEN: 0x305,
  TOO_LARGE: 0x306,
  STALE_MESSAGE_ID: 0x307,
  CURSOR_AHEAD: 0x308,
  KICKED: 0x309,
  MUTED: 0x30a,
  ALREADY_EXISTS: 0x30b,
  INVALID_REQUEST: 0x30c,
  LAST_OWNER: 0x30d,
  TOO_MANY: 0x30e,
  DENIED: 0x30f,
  NOT_FOUND_MESSAGE: 0x310,
  TOO_OLD: 0x311,
} as const;

/** What a client does when it is told a code. */
export type Action = "nothing" | "retry" | "new_token" | "stop";

/** The action of a code's range, which also holds for codes that this version does not know. */
export function actionOf(code: number): Action {
  if (code < 0x100) return "nothing";
  if (code < 0x200) return "retry";
  if (code < 0x300) return "new_token";
  return "stop";
}

export function nameOf(code: number): string {
  const known = Object.entries(Code).find(([, number]) => number === code);
  return known ? known[0] : `0x${code.toString(16).padStart(3, "0")}`;
}

/** Codes are told as statuses of WebSocket from here on. */
const STATUS_BASE = 4000;

/** The WebSocket status that tells a code. Those of a client fit: it closes with known ones only. */
export function statusOf(code: number): number {
  return STATUS_BASE + code;
}

/** The code that a WebSocket status tells (section 9); `undefined` when the connection was lost. */
export function codeOfStatus(status: number): number | undefined {
  if (status >= STATUS_BASE) return status - STATUS_BASE;
  if (status === 1000 || status === 1001) return Code.CLOSED;
  if (status === 1002 || status === 1003 || status === 1007) return Code.PROTOCOL;
  return status === 1009 ? Code.FRAME_TOO_LARGE : undefined;
}
