import assert from "node:assert/strict";
import { test } from "node:test";
import { clockTime, dayLabel, relativeTime, roundTrip, seconds } from "../src/model/times.js";

const at = (day: number, hour = 12, month = 5, year = 2026): number => new Date(year, month, day, hour).getTime();
const NOW = at(17, 12);

test("days by their names", () => {
  assert.equal(dayLabel(at(17, 0), NOW), "Today");
  assert.equal(dayLabel(at(16, 23), NOW), "Yesterday");
  assert.equal(dayLabel(at(12), NOW), "Friday");
  assert.equal(dayLabel(at(10), NOW), "Wednesday 10 June");
  assert.equal(dayLabel(at(10, 12, 5, 2019), NOW), "10 June 2019");
  assert.equal(dayLabel(at(18), NOW), "Thursday 18 June", "a clock that is ahead");
});

test("the nearer, the finer", () => {
  assert.equal(relativeTime(NOW - 20_000, NOW), "now");
  assert.equal(relativeTime(NOW + 20_000, NOW), "now");
  assert.equal(relativeTime(NOW - 5 * 60_000, NOW), "5 min");
  assert.equal(relativeTime(at(17, 8), NOW), clockTime(at(17, 8)));
  assert.equal(relativeTime(at(16, 8), NOW), "Yesterday");
  assert.equal(relativeTime(at(13), NOW), "Sat");
  assert.equal(relativeTime(at(1), NOW), "1 Jun");
  assert.equal(relativeTime(at(1, 12, 5, 2019), NOW), "01/06/19");
});

test("countdowns and round trips", () => {
  assert.equal(seconds(2900), "3 s");
  assert.equal(seconds(400), "1 s");
  assert.equal(seconds(-50), "1 s");
  assert.equal(roundTrip(0.4), "< 1 ms");
  assert.equal(roundTrip(12.4), "12 ms");
  assert.equal(roundTrip(2345), "2.3 s");
});
