/** Finds links in plain text. Only http and https: nothing else is made clickable. */

export type Piece = { text: string; href?: string };

const LINK = /\b(?:https?:\/\/|www\.)[^\s<>"'`\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
const TAIL = /[.,;:!?…'"»”’*_~]+$/u;

export function pieces(text: string): Piece[] {
  const out: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(LINK)) {
    const start = match.index;
    const link = trimEnd(match[0]);
    const href = hrefOf(link);
    if (!href) continue;
    if (start > at) out.push({ text: text.slice(at, start) });
    out.push({ text: link, href });
    at = start + link.length;
  }
  if (at < text.length) out.push({ text: text.slice(at) });
  return out;
}

/** A full stop, or a bracket that the text around has opened, is not part of the link. */
function trimEnd(link: string): string {
  for (;;) {
    const shorter = closesWhatIsOpen(link.replace(TAIL, ""));
    if (shorter === link) return link;
    link = shorter;
  }
}

function closesWhatIsOpen(link: string): string {
  for (const [open, close] of [
    ["(", ")"],
    ["[", "]"],
    ["{", "}"],
  ] as const) {
    if (link.endsWith(close) && link.split(close).length > link.split(open).length) return link.slice(0, -1);
  }
  return link;
}

function hrefOf(link: string): string | undefined {
  try {
    const url = new URL(/^www\./iu.test(link) ? `https://${link}` : link);
    return (url.protocol === "https:" || url.protocol === "http:") && url.hostname !== "" ? url.href : undefined;
  } catch {
    return undefined;
  }
}
