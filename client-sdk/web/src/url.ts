/** The address of a server, from what people write. */
import { QuothError } from "./error.js";

const PATH = "/v1/ws";

/** Where a page came from, as far as it matters here. */
export interface PageLocation {
  readonly protocol: string;
  readonly host: string;
}

/** `ws://`, `wss://`, `http://`, `https://`, `host:port`, or in a page nothing at all, as the URL of a WebSocket. */
export function webSocketUrl(given: string | undefined, page: PageLocation | undefined): string {
  const pageScheme = page && /^https?:$/.test(page.protocol) ? page.protocol : undefined;
  const text = given?.trim() ?? "";
  if (text === "" || text.startsWith("/")) {
    if (!page || !pageScheme) throw bad(text, "there is no page whose host could be meant");
    return finish(`${pageScheme}//${page.host}${text}`, text);
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return finish(text, text);
  const isLocal = /^(localhost|127\.|\[::1\])/.test(text);
  return finish(`${pageScheme ?? (isLocal ? "http:" : "https:")}//${text}`, text);
}

function finish(absolute: string, given: string): string {
  let url: URL;
  try {
    url = new URL(absolute);
  } catch {
    throw bad(given, "it is no address");
  }
  const scheme = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[url.protocol];
  if (!scheme) throw bad(given, `${url.protocol}// is no scheme for it`);
  const path = url.pathname.replace(/\/+$/, "");
  return `${scheme}//${url.host}${path.endsWith(PATH) ? path : path + PATH}`;
}

function bad(given: string, why: string): QuothError {
  const fix = "write wss://host:4433, https://host:4433 or host:4433, or leave it out in a page of the server";
  return new QuothError("BAD_ARGUMENT", `\`${given}\` is not the address of a server: ${why}; ${fix}`, false);
}
