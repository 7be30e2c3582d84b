/** How entries of a directory are used one after another, and how many of the next ones are wanted for it. */
import type { DirectoryNames, NamedEntry } from "./directory-names.ts";

/** Entries that may be passed over: other types, and what is not of interest. */
export const nearEntries = 8;

export class EntriesInRow {
  /** Of the entry that was used last. */
  cookie = 0;
  inRow = 0;
  /** Cookie of the last entry that was asked for, and how many from the present one to it. */
  aheadUpTo = 0;
  ahead = 0;
  readonly #inRowMin: number;
  readonly #aheadMax: number;

  /**
   * @param inRowMin so many have to come in the order of the listing, or nearly, before anything is wanted
   * @param aheadMax more than this is never wanted
   */
  constructor(inRowMin: number, aheadMax: number) {
    this.#inRowMin = inRowMin;
    this.#aheadMax = aheadMax;
  }

  /**
   * Notes an entry that is used.
   * @param behind the entries behind the one that was used before
   * @param inRowBefore how many were used in a row before it, if it comes next
   * @returns how many entries lie between this one and the one before
   */
  note(cookie: number, behind: readonly NamedEntry[], inRowBefore: number): number {
    const distance = behind.findIndex(({ entry }) => entry.cookie === cookie) + 1;
    this.inRow = distance === 0 ? 1 : inRowBefore + 1;
    this.ahead = distance === 0 ? 0 : Math.max(0, this.ahead - distance);
    if (this.ahead === 0) this.aheadUpTo = cookie;
    this.cookie = cookie;
    return Math.max(0, distance - 1);
  }

  get isInRow(): boolean {
    return this.inRow >= this.#inRowMin;
  }

  /** How many entries are to be asked for now: up to twice as many as were used, when half of the last ones were. */
  get lacking(): number {
    if (!this.isInRow) return 0;
    const wanted = Math.min(2 * this.inRow, this.#aheadMax);
    return this.ahead > wanted / 2 ? 0 : wanted - this.ahead;
  }

  /** The next ones are asked for, or `count` of them. */
  asked(entries: readonly NamedEntry[], count = entries.length): void {
    this.ahead += count;
    this.aheadUpTo = entries.at(-1)?.entry.cookie ?? this.aheadUpTo;
  }
}

/** No file comes behind the entry that was used last. */
export function isAtEnd(names: DirectoryNames | undefined, { cookie }: EntriesInRow): boolean {
  return names?.list(cookie, nearEntries)?.every(({ entry }) => entry.type !== "file") === true;
}
