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

/** Whether a seq is in one of them. */
export function isIn(ranges: readonly Range[], seq: number): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ranges[middle] as Range).to < seq) low = middle + 1;
    else high = middle;
  }
  const range = ranges[low];
  return range !== undefined && range.from <= seq;
}
