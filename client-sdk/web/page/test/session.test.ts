import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Session, SignedOut, sessionOf } from "../src/session.js";

const realFetch = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = realFetch;
});

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const token = (sub: string, seconds: number): string => `${part({})}.${part({ sub, exp: Date.now() / 1000 + seconds })}.c2ln`;

/** A development server that answers so, and what it was asked for. */
function server(answer: () => Response): string[] {
  const asked: string[] = [];
  globalThis.fetch = async (url) => {
    asked.push(String(url));
    return answer();
  };
  return asked;
}
const gives = (text: string) => () => Response.json({ token: text });
const none = () => new Response("not found", { status: 404 });

function session(seconds: number): Session {
  const found = sessionOf(token("ann/é", seconds));
  assert.ok(found);
  return found;
}

test("a token that holds is used as it is", async () => {
  const asked = server(none);
  const one = session(3600);
  assert.equal(await one.fresh(false), one.token);
  assert.deepEqual(asked, []);
});

test("one that ends, or was rejected, is renewed for the same user", async () => {
  for (const [seconds, rejected, expiring] of [
    [5, false, false],
    [3600, true, false],
    [3600, false, true],
  ] as const) {
    const next = token("ann/é", 7200);
    const asked = server(gives(next));
    const one = session(seconds);
    assert.equal(await one.fresh(rejected, expiring), next);
    assert.equal(await one.fresh(false), next, "it is kept");
    assert.deepEqual(asked, ["dev/token?user=ann%2F%C3%A9"]);
  }
});

test("where nobody gives tokens, one that still holds is used to its end", async () => {
  server(none);
  const one = session(10);
  assert.equal(await one.fresh(false), one.token);
  assert.equal(await one.fresh(false, true), one.token);
  await assert.rejects(one.fresh(true), SignedOut);
  await assert.rejects(session(-1).fresh(false), SignedOut);
});

test("a token for somebody else is not taken", async () => {
  server(gives(token("eve", 3600)));
  await assert.rejects(session(1).fresh(true), SignedOut);
});

test("a server that cannot be asked is no reason to sign out", async () => {
  server(() => new Response("", { status: 503 }));
  await assert.rejects(session(1).fresh(true), (error) => !(error instanceof SignedOut));
});
