import assert from "node:assert/strict";
import { test } from "node:test";
import { bannerOf, statusOf } from "../src/model/connection.js";

test("no banner while connected, nor on the first way there", () => {
  assert.equal(bannerOf({ name: "connected", rttMs: 1, transport: "websocket", durability: "stored" }, 3, 0), undefined);
  assert.equal(bannerOf({ name: "connecting", first: true }, 0, 0), undefined);
});

test("the banner counts down and tells what waits", () => {
  assert.deepEqual(bannerOf({ name: "waiting", retryAtMs: 4200, reason: "" }, 1, 1000), {
    text: "No connection. Next try in 4 s. 1 message waits.",
    action: "now",
    bad: false,
  });
  assert.equal(bannerOf({ name: "offline" }, 2, 0)?.text, "You are offline. 2 messages wait.");
  assert.equal(bannerOf({ name: "ended", reason: "stopped" }, 0, 0)?.action, "reload");
});

test("the status line tells way, round trip and durability", () => {
  const texts = (durability: "stored" | "memory" | undefined): string[] =>
    statusOf({ name: "connected", rttMs: 12, transport: "websocket", durability }).parts.map((part) => part.text);
  assert.deepEqual(texts("stored"), ["WebSocket", "12 ms", "durable"]);
  assert.deepEqual(texts("memory"), ["WebSocket", "12 ms", "in memory"]);
  assert.deepEqual(texts(undefined), ["WebSocket", "12 ms"]);
});
