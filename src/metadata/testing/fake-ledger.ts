/** A ledger in memory that a test can hold up and make fail. */
import type { Ledger, LedgerEntry } from "../../ledger/ledger.ts";

export class FakeLedger implements Ledger {
  readonly serving = true;
  waitsFor = "the ledger's disk";
  term = 1;
  readonly entries: LedgerEntry[] = [];
  truncatedBelow = 0;
  /** Thrown by appends while it is set. */
  failure: Error | undefined;
  #held: (() => void)[] | undefined;

  get lastIndex(): number {
    return this.entries.length;
  }

  /** Appends wait until `letGo`. */
  hold(): void {
    this.#held ??= [];
  }

  letGo(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const resolve of held) resolve();
  }

  async append(batch: Uint8Array): Promise<number> {
    if (this.#held !== undefined) await new Promise<void>((resolve) => this.#held!.push(resolve));
    if (this.failure !== undefined) throw this.failure;
    this.entries.push({ index: this.lastIndex + 1, term: this.term, batch });
    return this.lastIndex;
  }

  async check(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
  }

  async *read(from: number): AsyncIterable<LedgerEntry> {
    for (const entry of this.entries.slice(from - 1)) yield entry;
  }

  async truncate(index: number): Promise<void> {
    this.truncatedBelow = index;
  }

  async close(): Promise<void> {}
}
