/**
 * The names of a directory, as known under its lease: single ones that were looked up (there or not there), and from the
 * start of the listing up to some cookie all of them. A directory that this client has made, or has listed to its end, is
 * known whole.
 *
 * Pages of the listing come from the leader while this client may be changing the directory. What it changes meanwhile is
 * newer than the page: such names are left as they are.
 */
import type { EntryRecord } from "../namespace/model.ts";

/**
 * Names that a lookup did not find: programs look for the same few again and again. More than this are forgotten. Those
 * that were removed here are not: the leader may not know of it yet.
 */
const absentMax = 4_096;
/** More than this can be forgotten as soon as the leader knows of them: there are at most as many again, and a journal's. */
const removedMax = 4_096;

export interface NamedEntry {
  readonly name: string;
  readonly entry: EntryRecord;
}

interface Listed {
  readonly cookie: number;
  readonly name: string;
}

export class DirectoryNames {
  readonly #entries = new Map<string, EntryRecord>();
  readonly #absent = new Set<string>();
  /** Names removed here, in two parts: of the earlier ones it is known when the leader knows. */
  #removed = new Set<string>();
  #removedEarlier = new Set<string>();
  /** The journal's position up to which the earlier ones were removed. */
  #earlierPosition = 0;
  /** Entries with a cookie below `#knownBelow`; some of them may be gone, or twice in it until it is sorted. */
  #listed: Listed[] = [];
  #isSorted = true;
  #knownBelow: number;
  /** Names changed since a page of the listing was asked for. */
  #changed: Set<string> | undefined;

  /** @param isWhole the directory is new: it has no names yet */
  constructor(isWhole: boolean) {
    this.#knownBelow = isWhole ? Number.POSITIVE_INFINITY : 0;
  }

  get isWhole(): boolean {
    return this.#knownBelow === Number.POSITIVE_INFINITY;
  }

  /** Where the known part of the listing ends: the cookie behind which to ask on. */
  get listedUpTo(): number {
    return Math.max(0, this.#knownBelow - 1);
  }

  knows(name: string): boolean {
    if (this.isWhole || this.#entries.has(name) || this.#absent.has(name)) return true;
    return this.#removed.has(name) || this.#removedEarlier.has(name);
  }

  /** Only for a name that is known. */
  get(name: string): EntryRecord | undefined {
    return this.#entries.get(name);
  }

  /** The name of the entry with this cookie, if it is known: for people. */
  nameAt(cookie: number): string | undefined {
    for (const [name, entry] of this.#entries) if (entry.cookie === cookie) return name;
    return undefined;
  }

  /** A change, or what a lookup found. */
  set(name: string, entry: EntryRecord): void {
    this.#changed?.add(name);
    this.#absent.delete(name);
    this.#removed.delete(name);
    this.#removedEarlier.delete(name);
    this.#entries.set(name, entry);
    if (entry.cookie < this.#knownBelow) this.#list(name, entry.cookie);
  }

  /** The name was removed here. */
  remove(name: string): void {
    this.#changed?.add(name);
    this.#entries.delete(name);
    if (this.#listed.length > 64 && this.#listed.length > 2 * this.#entries.size) this.#sort();
    if (!this.isWhole) this.#removed.add(name);
  }

  /** A lookup did not find the name. */
  setAbsent(name: string): void {
    if (this.isWhole || this.#entries.has(name)) return;
    if (this.#absent.size >= absentMax) this.#absent.clear();
    this.#absent.add(name);
  }

  /**
   * Of many names that were removed here, those can be forgotten of which the leader knows.
   *
   * @param position of the last change of the directory
   */
  forgetRemoved(committedPosition: number, position: number): void {
    if (this.#removed.size < removedMax || this.#earlierPosition > committedPosition) return;
    this.#removedEarlier = this.#removed;
    this.#removed = new Set();
    this.#earlierPosition = position;
  }

  /** A page of the listing behind `listedUpTo` is going to be asked for. One at a time. */
  beginPage(): void {
    this.#changed = new Set();
  }

  /** The page, in the order of cookies; `isLast`: nothing is behind it. */
  addPage(page: readonly NamedEntry[], isLast: boolean): void {
    const changed = this.#changed ?? new Set();
    this.#changed = undefined;
    const from = this.#knownBelow;
    this.#knownBelow = isLast ? Number.POSITIVE_INFINITY : page.at(-1)!.entry.cookie + 1;
    if (isLast) {
      this.#absent.clear();
      this.#removed.clear();
      this.#removedEarlier.clear();
    }
    for (const { name, entry } of page) if (!changed.has(name)) this.set(name, entry);
    // What was made meanwhile, and is in the known part now.
    for (const name of changed) {
      const cookie = this.#entries.get(name)?.cookie ?? 0;
      if (cookie >= from && cookie < this.#knownBelow) this.#list(name, cookie);
    }
  }

  /** The page could not be had. */
  endPage(): void {
    this.#changed = undefined;
  }

  /** Up to `limit` entries behind the cookie `after`, in order; undefined if they aren't known that far. */
  list(after: number, limit: number): NamedEntry[] | undefined {
    if (!this.#isSorted) this.#sort();
    const found: NamedEntry[] = [];
    for (let at = this.#firstBehind(after); at < this.#listed.length && found.length < limit; at++) {
      const { name, cookie } = this.#listed[at]!;
      const entry = this.#entries.get(name);
      if (entry?.cookie === cookie) found.push({ name, entry });
    }
    if (found.length === limit || this.isWhole) return found;
    return found.length > 0 ? found : undefined;
  }

  #list(name: string, cookie: number): void {
    const last = this.#listed.at(-1);
    if (last !== undefined && last.cookie >= cookie) this.#isSorted = false;
    this.#listed.push({ name, cookie });
  }

  #sort(): void {
    const listed = this.#listed.filter(({ name, cookie }) => this.#entries.get(name)?.cookie === cookie);
    listed.sort((left, right) => left.cookie - right.cookie);
    this.#listed = listed.filter(({ cookie }, index) => index === 0 || listed[index - 1]!.cookie !== cookie);
    this.#isSorted = true;
  }

  #firstBehind(after: number): number {
    let [low, high] = [0, this.#listed.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#listed[middle]!.cookie > after) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
