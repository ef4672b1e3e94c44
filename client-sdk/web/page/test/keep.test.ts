import assert from "node:assert/strict";
import { test } from "node:test";
import { ageOptions, isShorter } from "../src/model/keep.js";

test("what holds is among what is offered, the longest first", () => {
  assert.deepEqual(ageOptions(0).slice(0, 2), [0, 31_536_000]);
  assert.deepEqual(ageOptions(6).slice(-2), [3_600, 6]);
  assert.equal(ageOptions(3_600).length, ageOptions(0).length);
});

test("less is kept when any bound is nearer than before", () => {
  const before = { ageS: 100, count: 10, bytes: 0 };
  assert.equal(isShorter(before, before), false);
  assert.equal(isShorter({ ...before, ageS: 0, count: 11 }, before), false);
  assert.equal(isShorter({ ...before, ageS: 99 }, before), true);
  assert.equal(isShorter({ ...before, count: 9 }, before), true);
  assert.equal(isShorter({ ...before, bytes: 5 }, before), true, "a bound where there was none");
  assert.equal(isShorter({ ageS: 5, count: 0, bytes: 0 }, { ageS: 0, count: 0, bytes: 0 }), true);
});
