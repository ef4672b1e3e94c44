/**
 * What a view is told and what it shows then, as the files say that the Rust client's tests play too:
 * `client-sdk/golden/views/`, whose form `client-sdk/src/view/tests/vectors.rs` tells.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { type Gap, type LogEvent, type RoomEvent } from "../src/index.js";
import { ConversationView, type MessagePage, type Range } from "../src/messages/index.js";

const FOLDER = "../golden/views";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** An event's kind, from the protocol's JSON. */
function contentOf(kind: any): object {
  const [type, of] = Object.entries<any>(kind)[0] as [string, any];
  const text = of.body !== undefined && { text: of.body, body: utf8(of.body) };
  if (type === "message") return { type, ...text, replyTo: of.reply_to ?? undefined, mentions: of.mentions, expiresMs: of.expires_ms };
  if (type === "edited") return { type, of: of.seq, ...text, mentions: of.mentions };
  if (type === "reacted") return { type, of: of.seq, reaction: of.reaction, on: of.on };
  if (type === "revoked") return { type, of: of.seq };
  if (type === "renamed") return { type, title: of.title };
  if (type === "retention_set") {
    const { age_s: ageS, count, bytes } = of.retention;
    return { type, retention: { ageS, count, bytes } };
  }
  throw new Error(`no test knows ${type}`);
}

function eventOf(told: any): RoomEvent | undefined {
  const { event, gap, unknown, caught_up: head } = told;
  if (event) return { seq: event.seq, timeMs: event.time_ms, sender: event.sender, ...contentOf(event.kind) } as LogEvent;
  if (gap) return { type: "gap", ...gap };
  if (unknown) return { type: "unknown", seq: unknown.seq, timeMs: unknown.time_ms, sender: unknown.sender } as LogEvent;
  return head === undefined ? undefined : { type: "caught_up", head };
}

function pageOf({ events, states, head, floor, from, to }: any): Omit<MessagePage, "complete"> {
  return {
    events: events.map(eventOf) as (LogEvent | Gap)[],
    states: states.map(({ seq, version, edited, reactions }: any) => {
      const edit = edited && { seq: edited.seq, timeMs: edited.time_ms, body: utf8(edited.body), mentions: edited.mentions };
      return { seq, version, edited: edit ?? undefined, reactions };
    }),
    head,
    floor,
    from,
    to,
    moreBefore: from > floor,
    moreAfter: to < head,
  };
}

/** Gives when something expires next. */
function tell(view: ConversationView, step: any): number | undefined {
  const event = eventOf(step);
  if (event) view.event(event);
  else if (step.page) view.page(pageOf(step.page));
  else if (step.reacted) {
    const { from, of, count } = step.reacted;
    for (let n = 0; n < count; n++)
      view.event({ type: "reacted", seq: from + n, timeMs: 1_000 + from + n, sender: "bob", of: of + n, reaction: "+1", on: true });
  } else if (step.hide) view.hide(step.hide);
  else if (step.forget_before) view.forgetBefore(step.forget_before);
  else if (step.expire) return view.expire(step.expire);
  else if (step.forget_before !== 0) assert.fail(`nothing is told by ${JSON.stringify(step)}`);
  return undefined;
}

function shown(view: ConversationView): string[] {
  const ranges = (ranges: readonly Range[]): string => ranges.map(({ from, to }) => ` ${from}-${to}`).join("");
  const lines = [`told${ranges(view.told)}`, `absent${ranges(view.gaps)}`];
  const { retention } = view;
  if (retention) lines.push(`kept ${retention.ageS} s, ${retention.count}, ${retention.bytes} bytes`);
  for (const entry of view.entries) {
    if (entry.type !== "message") continue;
    const { seq, sender, text, replyTo, edited, mentions, reactions } = entry;
    const what = [`${seq} ${sender}: ${text}`];
    if (replyTo) what.push(`re ${replyTo}`);
    if (edited) what.push(`edited ${edited.seq}`);
    what.push(...mentions.map((user) => `@${user}`));
    what.push(...reactions.map(({ reaction, count, mine }) => `${reaction}=${count}${mine ? "*" : ""}`));
    lines.push(what.join(" "));
  }
  return lines;
}

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".json"))) {
  for (const { name, me, steps } of JSON.parse(readFileSync(`${FOLDER}/${file}`, "utf8"))) {
    test(`a view as in ${file}: ${name}`, () => {
      const view = new ConversationView(me);
      let expected = shown(view);
      for (const step of steps) {
        const nextMs = tell(view, step);
        expected = step.view ?? expected;
        assert.deepEqual(shown(view), expected, `behind ${JSON.stringify(step)}`);
        assert.equal(nextMs, step.next_ms, `behind ${JSON.stringify(step)}`);
      }
    });
  }
}
