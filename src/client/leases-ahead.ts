/**
 * The exclusive leases on the entries that come next in a directory, asked for before somebody changes them.
 *
 * Programs change one file after another (chmod -R, touch, cp -r over what is there, rsync): the names, and with them shared
 * leases, come in batches, but each exclusive one costs a round trip to the leader. So a directory notes which of its
 * entries are changed for the first time:
 *
 * 1. From the second in the order of the listing the next ones of the same type are wished for: twice as many as were changed in a
 *    row, up to a bound, when half of the last ones were used. Nobody waits for it but who wants one of them by then. Each that is
 *    passed over counts against it: who changes every second one or fewer gets each when he asks for it.
 * 2. A wish takes nothing from anybody: the leader grants what no other client has, and recalls nobody.
 * 3. Who has changed a directory to its end, or has gone down from one that he changes in a row, goes on at the first of the next one.
 * 4. What is recalled, or given back, before it was used was in somebody's way: that directory is left alone for a while, each time
 *    for longer. So are those in which others have what is wished for.
 * 5. With few leases left nothing is wished for.
 */
import type { FileType } from "../namespace/model.ts";
import type { NamedEntry } from "./directory-names.ts";
import { EntriesInRow, isAtEnd, nearEntries } from "./entries-in-row.ts";
import type { LeaseBatches } from "./lease-batches.ts";
import type { Node } from "./node.ts";

/** Some milliseconds of the leader's work. */
const aheadMax = 64;
const inRowMin = 2;
/** So many are asked for alone after wishes that were in somebody's way; the next time twice as many. */
const aloneMin = 16;
const aloneMax = 4_096;

/** How the entries of a directory were changed so far. */
export class ChangesInRow extends EntriesInRow {
  /** How many were changed in a row in the directory below it that was changed last, if that was to its end. */
  inRowBelow = 0;
  /** So many more are asked for alone. */
  alone = 0;
  #aloneNext = aloneMin;

  constructor() {
    super(inRowMin, aheadMax);
  }

  /** Those that are passed over would have been wished for in vain: they count against those that were changed. */
  override note(cookie: number, behind: readonly NamedEntry[], inRowBefore: number): number {
    const passedOver = super.note(cookie, behind, inRowBefore);
    this.inRow = Math.max(1, this.inRow - passedOver);
    return passedOver;
  }

  leaveAlone(): void {
    if (this.alone > 0) return;
    this.alone = this.#aloneNext;
    this.#aloneNext = Math.min(2 * this.#aloneNext, aloneMax);
  }
}

export class LeasesAhead {
  readonly #nodes: ReadonlyMap<number, Node>;
  readonly #wish: LeaseBatches["wish"];
  /** In which an entry was changed last. */
  #directory = 0;

  /** @param wish see lease-batches.ts */
  constructor(nodes: ReadonlyMap<number, Node>, wish: LeaseBatches["wish"]) {
    this.#nodes = nodes;
    this.#wish = wish;
  }

  /** The exclusive lease is wanted on an inode that has not been changed under it. */
  note({ record }: Node): void {
    const { parent, parentCookie } = record;
    const directory = this.#nodes.get(parent);
    if (directory?.names === undefined || directory.use.changes.cookie === parentCookie) return;
    const { changes: row } = directory.use;
    const inRowBefore = row.cookie === 0 ? this.#inRowOnTheWay(directory) : row.inRow;
    if (row.cookie !== 0) this.#noteBelow(directory);
    const { type } = record.attributes;
    row.note(parentCookie, alike(directory.names.list(row.cookie, nearEntries), type), inRowBefore);
    this.#directory = parent;
    if (row.alone > 0) row.alone -= 1;
    else this.#wishForNext(directory, type);
  }

  /** A lease that came by a wish goes unused. */
  unused({ record }: Node): void {
    this.#nodes.get(record.parent)?.use.changes.leaveAlone();
  }

  #wishForNext(directory: Node, type: FileType): void {
    const { changes: row } = directory.use;
    const { lacking } = row;
    if (lacking === 0) return;
    const entries = directory.names?.list(row.aheadUpTo, lacking) ?? [];
    const wanted = alike(entries, type);
    row.asked(entries, wanted.length);
    void this.#wish(wanted.map(({ entry }) => entry.inode)).then(({ asked, came }) => {
      if (came < asked / 2) row.leaveAlone();
    });
  }

  /** Somebody comes up again from a directory whose entries he has changed. */
  #noteBelow(directory: Node): void {
    const below = this.#nodes.get(this.#directory);
    if (below?.record.parent !== directory.inode) return;
    const { changes: row } = below.use;
    directory.use.changes.inRowBelow = isAtEnd(below.names, row) ? row.inRow : 0;
  }

  /** How many were changed in a row by whoever now changes the first entry of a directory. */
  #inRowOnTheWay({ record }: Node): number {
    const before = this.#nodes.get(this.#directory);
    if (before === undefined || !before.use.changes.isInRow) return 0;
    const { changes: row } = before.use;
    if (record.parent === before.inode) return Math.max(row.inRow, row.inRowBelow);
    return isAtEnd(before.names, row) ? row.inRow : 0;
  }
}

function alike(entries: readonly NamedEntry[] | undefined, type: FileType): readonly NamedEntry[] {
  return entries?.filter(({ entry }) => entry.type === type) ?? [];
}
