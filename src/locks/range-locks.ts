/**
 * Which ranges of one file are locked, by whom: the table under advisory locks, as fcntl(2) describes it.
 *
 * Each owner has its ranges in an array of its own, in order and without overlap; neighbours of the same mode are one range.
 * So a change is two binary searches and one splice, however many ranges there are, and a question about conflicts is a
 * binary search for each other owner. Whether a change is allowed is the caller's to ask before (`conflict`).
 */

export type LockMode = "shared" | "exclusive";

/** First and last byte, from 0 to 2^63 − 1: programs lock places where no file reaches, to mean something else by them. */
export interface ByteRange {
  readonly start: bigint;
  readonly end: bigint;
}

export interface LockedRange extends ByteRange {
  readonly mode: LockMode;
  /** When it was set, as a number that grows; of a range made of several, when the last of them was. */
  readonly grant: number;
}

export interface Conflict<Owner> {
  readonly owner: Owner;
  readonly range: LockedRange;
}

export class RangeLocks<Owner> {
  /** No empty arrays. */
  readonly #owners = new Map<Owner, LockedRange[]>();
  #count = 0;

  /** Ranges of all owners. */
  get count(): number {
    return this.#count;
  }

  owners(): Iterable<Owner> {
    return this.#owners.keys();
  }

  has(owner: Owner): boolean {
    return this.#owners.has(owner);
  }

  /** In order. */
  of(owner: Owner): readonly LockedRange[] {
    return this.#owners.get(owner) ?? [];
  }

  /** The owner has the range in this mode from now on, whatever it had there; without a mode it has nothing there. */
  set(owner: Owner, { start, end }: ByteRange, mode: LockMode | undefined, grant = 0): void {
    const ranges = this.#owners.get(owner) ?? [];
    let from = firstEndingFrom(ranges, start);
    let to = from;
    while (to < ranges.length && ranges[to]!.start <= end) to += 1;
    const pieces: LockedRange[] = [];
    if (from < to) {
      const [first, last] = [ranges[from]!, ranges[to - 1]!];
      if (first.start < start) pieces.push({ ...first, end: start - 1n });
      if (mode !== undefined) pieces.push({ start, end, mode, grant });
      if (last.end > end) pieces.push({ ...last, start: end + 1n });
    } else if (mode !== undefined) pieces.push({ start, end, mode, grant });
    if (from > 0) pieces.unshift(ranges[--from]!);
    if (to < ranges.length) pieces.push(ranges[to++]!);
    const joined = join(pieces);
    this.#count += joined.length - (to - from);
    ranges.splice(from, to - from, ...joined);
    if (ranges.length === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, ranges);
  }

  /** The owner has nothing any more. */
  drop(owner: Owner): void {
    this.#count -= this.of(owner).length;
    this.#owners.delete(owner);
  }

  /** What is in the way of the owner, were it to set this: the lock that begins first. */
  conflict(owner: Owner, range: ByteRange, mode: LockMode): Conflict<Owner> | undefined {
    let found: Conflict<Owner> | undefined;
    for (const [other, ranges] of this.#owners) {
      if (other === owner) continue;
      const inTheWay = firstInTheWay(ranges, range, mode);
      if (inTheWay === undefined || (found !== undefined && found.range.start <= inTheWay.start)) continue;
      found = { owner: other, range: inTheWay };
    }
    return found;
  }

  /** All owners that are in the way. */
  *blockers(owner: Owner, range: ByteRange, mode: LockMode): Generator<Owner> {
    for (const [other, ranges] of this.#owners) {
      if (other !== owner && firstInTheWay(ranges, range, mode) !== undefined) yield other;
    }
  }
}

export function overlap(left: ByteRange, right: ByteRange): boolean {
  return left.start <= right.end && right.start <= left.end;
}

/** The bytes that are in both, of ranges that overlap. */
export function intersection(left: ByteRange, right: ByteRange): ByteRange {
  return {
    start: left.start > right.start ? left.start : right.start,
    end: left.end < right.end ? left.end : right.end,
  };
}

/** Whether two owners can't have these at the same byte. */
export function areOpposed(left: LockMode, right: LockMode): boolean {
  return left === "exclusive" || right === "exclusive";
}

function firstInTheWay(ranges: readonly LockedRange[], { start, end }: ByteRange, mode: LockMode) {
  for (let at = firstEndingFrom(ranges, start); at < ranges.length && ranges[at]!.start <= end; at++) {
    if (areOpposed(ranges[at]!.mode, mode)) return ranges[at];
  }
  return undefined;
}

/** Index of the first range that ends at `byte` or behind it. */
function firstEndingFrom(ranges: readonly LockedRange[], byte: bigint): number {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.end < byte) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Neighbours of the same mode become one. */
function join(pieces: readonly LockedRange[]): LockedRange[] {
  const joined: LockedRange[] = [];
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (last !== undefined && last.mode === piece.mode && last.end + 1n === piece.start) {
      joined[joined.length - 1] = { ...last, end: piece.end, grant: Math.max(last.grant, piece.grant) };
    } else joined.push(piece);
  }
  return joined;
}
