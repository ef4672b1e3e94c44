/** How long messages are to be kept: what is offered, and what takes messages away at once. */

import type { Retention } from "../../../src/messages/index.js";

const DAY_S = 86_400;
/** 0: for ever. */
const AGES_S = [0, 3_600, DAY_S, 7 * DAY_S, 30 * DAY_S, 90 * DAY_S, 365 * DAY_S];

/** What is offered, what holds among it, the longest first. */
export function ageOptions(ageS: number): number[] {
  const length = (one: number): number => (one === 0 ? Infinity : one);
  return [...new Set([...AGES_S, ageS])].sort((a, b) => (length(a) < length(b) ? 1 : -1));
}

/** Whether less is kept than before. */
export function isShorter(wanted: Retention, before: Retention): boolean {
  const isLess = (a: number, b: number): boolean => a > 0 && (b === 0 || a < b);
  return isLess(wanted.ageS, before.ageS) || isLess(wanted.count, before.count) || isLess(wanted.bytes, before.bytes);
}
