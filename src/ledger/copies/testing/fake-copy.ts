/** The copy's side of a feed, in memory: keeps what it is given, and refuses what the catalogue forbids. */
import { strict as assert } from "node:assert";
import type { LedgerEntry } from "../../ledger.ts";
import type { StateSource } from "../copy-feed.ts";

type Part = { first: boolean; rows: readonly unknown[]; done: boolean; last: LedgerEntry | undefined };

export class FakeCopy {
  entries: LedgerEntry[] = [];
  /** How often log and state were replaced. */
  replacements = 0;
  /** Rows of the state that has come in so far. */
  rows = 0;
  #isReplacing = false;

  get lastIndex(): number {
    return this.entries.at(-1)?.index ?? 0;
  }

  /** A state is coming in: what is there is of no use. */
  get isReplacing(): boolean {
    return this.#isReplacing;
  }

  attach(): { lastIndex: number; lastTerm: number } {
    if (this.#isReplacing) return { lastIndex: Number.MAX_SAFE_INTEGER, lastTerm: 0 };
    return { lastIndex: this.lastIndex, lastTerm: this.entries.at(-1)?.term ?? 0 };
  }

  append(entries: readonly LedgerEntry[]): void {
    assert.equal(this.#isReplacing, false);
    for (const entry of entries) {
      assert.equal(entry.index, this.lastIndex + 1, "entries follow each other");
      assert.ok(entry.term >= (this.entries.at(-1)?.term ?? 0));
      this.entries.push({ ...entry, batch: Buffer.from(entry.batch) });
    }
  }

  replace({ first, rows, done, last }: Part): void {
    if (first) [this.rows, this.#isReplacing] = [0, true];
    assert.ok(this.#isReplacing, "a state has a beginning");
    this.rows += rows.length;
    if (!done) return;
    this.#isReplacing = false;
    this.replacements += 1;
    this.entries = last === undefined ? [] : [{ ...last, batch: Buffer.from(last.batch) }];
  }
}

/** A state of so many pages of one row each, as of the index when the first one is read. */
export function stateOf(lastIndex: () => number, pages: number): StateSource {
  let index = 0;
  return {
    read: async ({ backup, after }) => {
      if (backup === 0) index = lastIndex();
      const page = backup === 0 ? 1 : after[0]! + 1;
      return { backup: 1, index, rows: [{ key: Buffer.of(page), value: Buffer.of(0) }], done: page >= pages };
    },
  };
}
