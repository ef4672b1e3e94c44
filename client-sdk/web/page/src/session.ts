/**
 * Who uses this window. The token lives in the window's own storage: a reload finds it, another window can be
 * another user, and it is gone with the window.
 */

import { claimsOf, type Claims } from "./model/token.js";
import { linkOf, type Link } from "./model/fragment.js";
import { windowKept } from "./storage.js";

const TOKEN_KEY = "quoth.token";
const DEV_TOKEN = "dev/token";
/** A token that ends sooner than this is renewed before it is used. */
const FRESH_MS = 20_000;

export class SignedOut extends Error {}

export class Session {
  constructor(
    public token: string,
    public claims: Claims,
  ) {}

  /** A token for a sign-in or a renewal. Throws `SignedOut` when there is none any more; other failures may pass. */
  async fresh(rejected: boolean, expiring = false): Promise<string> {
    if (!rejected && !expiring && this.claims.endsMs - Date.now() > FRESH_MS) return this.token;
    const token = await devToken(this.claims.user);
    if (token === undefined) {
      if (!rejected && this.claims.endsMs > Date.now()) return this.token;
      throw new SignedOut(rejected ? "The server does not take this token any more." : "Your token has ended.");
    }
    const claims = claimsOf(token);
    if (claims?.user !== this.claims.user) throw new SignedOut("The new token is not for the same user.");
    this.token = token;
    this.claims = claims;
    windowKept.set(TOKEN_KEY, token);
    return token;
  }
}

/** Takes a token out of the address bar, or the one that this window had before. */
export function findSession(): { session: Session | undefined; link: Link; problem: string | undefined } {
  const link = linkOf(location.hash);
  if (location.hash !== "") history.replaceState(history.state, "", location.pathname + location.search);
  const token = link.token ?? windowKept.get(TOKEN_KEY);
  if (token === undefined) return { session: undefined, link, problem: undefined };
  const session = sessionOf(token);
  return {
    session,
    link,
    problem: session ? undefined : "The link's token is not one: copy the whole link.",
  };
}

/** None when the text is no token. */
export function sessionOf(token: string): Session | undefined {
  const claims = claimsOf(token);
  if (!claims) return undefined;
  windowKept.set(TOKEN_KEY, token);
  return new Session(token, claims);
}

export function forget(): void {
  windowKept.set(TOKEN_KEY, undefined);
}

/** A development server's token for a user; none when the server gives none. Throws when it cannot be asked. */
export async function devToken(user: string): Promise<string | undefined> {
  const answer = await fetch(`${DEV_TOKEN}?user=${encodeURIComponent(user)}`, {
    cache: "no-store",
    headers: { accept: "application/json" },
  });
  if (!answer.ok || !(answer.headers.get("content-type") ?? "").includes("json")) {
    if (answer.status >= 500) throw new Error(`the server answered ${answer.status}`);
    return undefined;
  }
  const body = (await answer.json()) as { token?: unknown };
  return typeof body.token === "string" ? body.token : undefined;
}
