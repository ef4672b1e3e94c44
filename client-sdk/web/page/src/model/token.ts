/** What a token says about itself. Only for show: the server judges. */

export interface Claims {
  user: string;
  /** The token's end, milliseconds since 1970. */
  endsMs: number;
  /** None narrows nothing: in conversations that have members, membership alone counts then. */
  read: string[] | undefined;
  write: string[] | undefined;
}

/** None for what is not a JSON Web Token with a user and an end. */
export function claimsOf(token: string): Claims | undefined {
  try {
    const body = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(body.replace(/-/gu, "+").replace(/_/gu, "/")), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Record<string, unknown>;
    if (typeof claims.sub !== "string" || claims.sub === "" || typeof claims.exp !== "number") return undefined;
    return { user: claims.sub, endsMs: claims.exp * 1000, read: texts(claims.read), write: texts(claims.write) };
  } catch {
    return undefined;
  }
}

const texts = (value: unknown): string[] | undefined =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : undefined;

/** A pattern is a name in which each `*` stands for any characters. */
export function matches(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => {
    const parts = pattern.split("*");
    if (parts.length === 1) return pattern === name;
    const head = parts[0] as string;
    const tail = parts.at(-1) as string;
    if (!name.startsWith(head) || !name.endsWith(tail)) return false;
    let at = head.length;
    for (const part of parts.slice(1, -1)) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= name.length - tail.length;
  });
}

/** Why a conversation cannot have this name, or none. */
export function nameProblem(name: string): string | undefined {
  if (name === "") return "Type a name";
  if (new TextEncoder().encode(name).length > 128) return "That name is too long: at most 128 bytes";
  if (/\p{Cc}/u.test(name)) return "A name has no control characters";
  return undefined;
}
