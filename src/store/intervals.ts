/** Sorted lists of byte ranges [from, to) that do not overlap; changed in place by their one owner (space.ts). */

export interface Interval {
  from: number;
  to: number;
}

/** A range that `extra` chunks hold besides the first one. */
export interface SharedInterval extends Interval {
  extra: number;
}

/** Index of the first interval that ends behind `position`. */
function indexOf(intervals: readonly Interval[], position: number): number {
  let low = 0;
  let high = intervals.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (intervals[middle]!.to > position) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Adds a range that overlaps none, and joins it with its neighbours. */
export function addInterval(intervals: Interval[], from: number, to: number): void {
  const index = indexOf(intervals, from);
  const before = intervals[index - 1];
  const after = intervals[index];
  if (after !== undefined && after.from < to) throw new RangeError(`[${from}, ${to}) is there already`);
  const joinsBefore = before !== undefined && before.to === from;
  const joinsAfter = after !== undefined && after.from === to;
  if (joinsBefore && joinsAfter) {
    before.to = after.to;
    intervals.splice(index, 1);
  } else if (joinsBefore) before.to = to;
  else if (joinsAfter) after.from = from;
  else intervals.splice(index, 0, { from, to });
}

/** Removes an interval that is in the list exactly so; false if it is not. */
export function removeInterval(intervals: Interval[], from: number, to: number): boolean {
  const index = indexOf(intervals, from);
  const found = intervals[index];
  if (found === undefined || found.from !== from || found.to !== to) return false;
  intervals.splice(index, 1);
  return true;
}

/** One more holder for all of the range. */
export function share(intervals: SharedInterval[], from: number, to: number): void {
  const start = indexOf(intervals, from);
  const changed: SharedInterval[] = [];
  let index = start;
  let position = from;
  for (; index < intervals.length && intervals[index]!.from < to; index++) {
    const present = intervals[index]!;
    if (present.from < from) changed.push({ from: present.from, to: from, extra: present.extra });
    if (position < present.from) changed.push({ from: position, to: present.from, extra: 1 });
    const low = Math.max(from, present.from);
    const high = Math.min(to, present.to);
    changed.push({ from: low, to: high, extra: present.extra + 1 });
    if (present.to > to) changed.push({ from: to, to: present.to, extra: present.extra });
    position = high;
  }
  if (position < to) changed.push({ from: position, to, extra: 1 });
  intervals.splice(start, index - start, ...joined(changed));
}

/** One holder less for all of the range; returns the parts that have none left. */
export function unshare(intervals: SharedInterval[], from: number, to: number): Interval[] {
  const start = indexOf(intervals, from);
  const changed: SharedInterval[] = [];
  const unheld: Interval[] = [];
  let index = start;
  let position = from;
  for (; index < intervals.length && intervals[index]!.from < to; index++) {
    const present = intervals[index]!;
    if (present.from < from) changed.push({ from: present.from, to: from, extra: present.extra });
    if (position < present.from) unheld.push({ from: position, to: present.from });
    const low = Math.max(from, present.from);
    const high = Math.min(to, present.to);
    if (present.extra > 1) changed.push({ from: low, to: high, extra: present.extra - 1 });
    if (present.to > to) changed.push({ from: to, to: present.to, extra: present.extra });
    position = high;
  }
  if (position < to) unheld.push({ from: position, to });
  intervals.splice(start, index - start, ...joined(changed));
  return unheld;
}

function joined(intervals: readonly SharedInterval[]): SharedInterval[] {
  const result: SharedInterval[] = [];
  for (const interval of intervals) {
    const last = result.at(-1);
    if (last !== undefined && last.to === interval.from && last.extra === interval.extra) last.to = interval.to;
    else result.push(interval);
  }
  return result;
}
