/** Ranges of seqs, in ascending order and merged where they touch. */

/** Both ends included. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** `ranges` with one more. */
export function withRange(ranges: readonly Range[], more: Range): Range[] {
  let { from, to } = more;
  if (to < from) return [...ranges];
  const before = ranges.filter((range) => range.to < from - 1);
  const after = ranges.filter((range) => range.from > to + 1);
  for (const range of ranges.slice(before.length, ranges.length - after.length)) {
    from = Math.min(from, range.from);
    to = Math.max(to, range.to);
  }
  return [...before, { from, to }, ...after];
}

/** `ranges` without what lies from `from` up to and including `to`. */
export function withoutRange(ranges: readonly Range[], { from, to }: Range): Range[] {
  return ranges
    .flatMap((range) => [{ from: range.from, to: Math.min(range.to, from - 1) }, { from: Math.max(range.from, to + 1), to: range.to }])
    .filter((range) => range.from <= range.to);
}

/** The last seq of the range that a seq is in. */
export function endOf(ranges: readonly Range[], seq: number): number | undefined {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ranges[middle] as Range).to < seq) low = middle + 1;
    else high = middle;
  }
  const range = ranges[low];
  return range && range.from <= seq ? range.to : undefined;
}

/** The last seq up to which they have all behind this one; this one itself, when they have not the next one. */
export const allBehind = (ranges: readonly Range[], seq: number): number => endOf(ranges, seq + 1) ?? seq;

/** Whether a seq is in one of them. */
export const isIn = (ranges: readonly Range[], seq: number): boolean => endOf(ranges, seq) !== undefined;
