/** Who is called by a text: `@` and a user's id, with nothing of a word before it. */

export interface Called {
  text: string;
  /** Whom this part calls. */
  user?: string;
}

const BEFORE = /(?:^|[\s(\[{"'“‘,;:/])$/u;
const WORD = /^[\p{L}\p{N}_]/u;

/** A text in parts, of which those that call one of `users` say so. The longest id counts. */
export function calls(text: string, users: readonly string[]): Called[] {
  const parts: Called[] = [];
  const byLength = [...users].sort((a, b) => b.length - a.length);
  let begun = 0;
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    if (!BEFORE.test(text.slice(Math.max(0, at - 2), at))) continue;
    const user = byLength.find((one) => text.startsWith(one, at + 1) && !WORD.test(text.slice(at + 1 + one.length)));
    if (user === undefined) continue;
    if (at > begun) parts.push({ text: text.slice(begun, at) });
    begun = at + 1 + user.length;
    parts.push({ text: text.slice(at, begun), user });
    at = begun - 1;
  }
  if (begun < text.length) parts.push({ text: text.slice(begun) });
  return parts;
}

/** The most that the server takes. */
const MENTIONS_MAX = 50;

/** Whom a text calls, each once. */
export function calledBy(text: string, users: readonly string[]): string[] {
  return [...new Set(calls(text, users).flatMap(({ user }) => user ?? []))].slice(0, MENTIONS_MAX);
}

/** What is being typed behind an `@` right before the caret, if anything; `at` is where the `@` stands. */
export function callBegun(text: string, caret: number): { at: number; begun: string } | undefined {
  const at = text.lastIndexOf("@", caret - 1);
  if (at < 0 || caret - at > 40 || !BEFORE.test(text.slice(Math.max(0, at - 2), at))) return undefined;
  const begun = text.slice(at + 1, caret);
  return /[\s@]/u.test(begun) ? undefined : { at, begun };
}

/** Users whose id has what was begun: those that begin with it first. */
export function callable(users: readonly string[], begun: string, countMax = 6): string[] {
  const low = begun.toLowerCase();
  const rank = (user: string): number => user.toLowerCase().indexOf(low);
  return users
    .filter((user) => rank(user) >= 0)
    .sort((a, b) => Math.min(1, rank(a)) - Math.min(1, rank(b)) || (a < b ? -1 : 1))
    .slice(0, countMax);
}
