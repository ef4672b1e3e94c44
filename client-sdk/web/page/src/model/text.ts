/** Small questions about texts. */

/** What is longer is folded until asked for. */
const FOLD_CHARS = 1500;
const FOLD_LINES = 20;

export function isLong(text: string): boolean {
  if (text.length > FOLD_CHARS) return true;
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) if (++lines > FOLD_LINES) return true;
  return false;
}

const EMOJI =
  /^(?:\p{RI}\p{RI}|\p{Emoji}(?:\p{EMod}|\uFE0F\u20E3?|[\u{E0020}-\u{E007E}]+\u{E007F})?(?:\u200D\p{Emoji}(?:\p{EMod}|\uFE0F)?)*)$/u;
const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Up to three emoji and nothing else: shown large. */
export function isEmojiOnly(text: string): boolean {
  const bare = text.replace(/\s/gu, "");
  if (bare === "" || bare.length > 60 || /^[\d#*]+$/u.test(bare)) return false;
  const parts = [...segmenter.segment(bare)].map((part) => part.segment);
  return parts.length <= 3 && parts.every((part) => EMOJI.test(part) && !/^[\d#*©®]$/u.test(part));
}

/** One line for the list and for announcements. */
export function oneLine(text: string, charsMax = 140): string {
  const line = text
    .slice(0, charsMax * 2)
    .replace(/\s+/gu, " ")
    .trim();
  return line.length > charsMax ? `${line.slice(0, charsMax - 1)}…` : line;
}

/** A name within a sentence: its direction of writing does not turn the words around it. */
export const isolated = (name: string): string => `\u2068${name}\u2069`;

/** "Ann", "Ann and Bob", "Ann, Bob and 3 others". */
export function nameList(names: readonly string[], shown = 2): string {
  if (names.length <= 1) return names.join("");
  if (names.length <= shown) return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  const rest = names.length - shown;
  return `${names.slice(0, shown).join(", ")} and ${rest === 1 ? "1 other" : `${rest} others`}`;
}

export function titleOf(unread: number): string {
  return unread === 0 ? "Quoth" : `(${unread > 999 ? "999+" : unread}) Quoth`;
}

export const badge = (unread: number): string => (unread > 999 ? "999+" : String(unread));

/** The bytes of a body: what the server's limit counts. */
export const byteLength = (text: string): number => new TextEncoder().encode(text).length;

/** What is shown of a body. */
export function textOf(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return `${body.length.toLocaleString("en")} bytes that are not text`;
  }
}
