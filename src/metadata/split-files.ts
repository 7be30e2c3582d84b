/** Files on which several clients work at once, or are about to: see 6 in leases.ts. Reads the table, changes nothing in it. */
import { fileOfKey, indexOfKey, isChunkKey, maySplit } from "../namespace/chunk-leases.ts";
import { Contention } from "./contention.ts";
import { type Holder, type LeaseTable, none } from "./lease-table.ts";

export class SplitFiles {
  readonly #table: LeaseTable;
  readonly #contention: Contention;
  /** By file: the keys of the chunks on which somebody has a lease. */
  readonly #chunks = new Map<number, Set<number>>();

  constructor(table: LeaseTable, nowMs: () => number) {
    this.#table = table;
    this.#contention = new Contention(nowMs);
  }

  // --- what stands in the table ---

  /** A lease on a chunk has been added. */
  add(key: number): void {
    const keys = this.#chunks.get(fileOfKey(key));
    if (keys === undefined) this.#chunks.set(fileOfKey(key), new Set([key]));
    else keys.add(key);
  }

  /** One has been removed. */
  remove(key: number): void {
    const keys = this.#chunks.get(fileOfKey(key));
    if (keys === undefined || this.#table.first(key) !== none) return;
    keys.delete(key);
    if (keys.size === 0) this.#chunks.delete(fileOfKey(key));
  }

  /** Keys of a file's chunks, in their order. */
  chunksOf(inode: number): number[] {
    return [...(this.#chunks.get(inode) ?? [])].sort((left, right) => left - right);
  }

  /** Who has which chunks of a file, in their order. */
  holders(inode: number): (Holder & { index: number })[] {
    return this.chunksOf(inode).flatMap((key) =>
      this.#table.holders(key).map((holder) => ({ ...holder, index: indexOfKey(key) })),
    );
  }

  /** The grant of the session's split lease; 0 if it has none. */
  grantOf(session: number, inode: number): number {
    const slot = this.#table.find(session, inode);
    return slot !== none && this.#table.mode(slot) === "split" ? this.#table.grant(slot) : 0;
  }

  /** Inodes that the session has to itself, whole or some chunks of them. */
  exclusiveInodes(session: number): number[] {
    const inodes: number[] = [];
    const split = new Set<number>();
    for (const slot of this.#table.ofSession(session)) {
      const inode = this.#table.inode(slot);
      if (!this.#table.isExclusive(slot)) continue;
      if (isChunkKey(inode)) split.add(fileOfKey(inode));
      else inodes.push(inode);
    }
    return [...inodes, ...split];
  }

  // --- what may be split ---

  /** The split lease is given to who has nothing else, or has it already. */
  mayBeGiven(session: number, inode: number): boolean {
    const slot = this.#table.find(session, inode);
    return maySplit(inode) && (slot === none || this.#table.mode(slot) === "split");
  }

  /** Others have split leases (and so nothing else). */
  isOthers(session: number, inode: number): boolean {
    for (let slot = this.#table.first(inode); slot !== none; slot = this.#table.next(slot)) {
      if (this.#table.session(slot) !== session) return this.#table.mode(slot) === "split";
    }
    return false;
  }

  isContested(inode: number): boolean {
    return this.#contention.isContested(inode);
  }

  /** The session waits to write to a file; another may have it to itself. */
  wanted(session: number, inode: number): void {
    const slot = this.#table.first(inode);
    const isTaken = slot !== none && this.#table.session(slot) !== session && this.#table.isExclusive(slot);
    if (isTaken) this.#contention.taking(inode);
  }

  /** The session asks for a chunk. */
  used(session: number, inode: number): void {
    if (this.isOthers(session, inode)) this.#contention.goesOn(inode);
  }

  /** Split leases of those who have been alone with a file for a while: given back, they get it whole next time. */
  *alone(): Iterable<number> {
    for (const inode of this.#chunks.keys()) {
      const slot = this.#table.first(inode);
      if (slot !== none && this.#table.next(slot) === none && !this.#contention.isContested(inode)) yield slot;
    }
  }
}
