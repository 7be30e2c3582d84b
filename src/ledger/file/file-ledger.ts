/**
 * The ledger on one local disk: a segment log whose records are entries and terms.
 *
 * Each open commits a term record with a higher term before it returns. It also states the index of the last entry, so
 * that both are known when all entries have been removed by `truncate`: the newest segment always stays.
 */
import { CodecError } from "../../codec/buffers.ts";
import { bytes, decode, encode, type Infer, struct, u64, union } from "../../codec/schema.ts";
import { BrineError } from "../../errors/brine-error.ts";
import { type LoggedRecord, SegmentLog } from "../../log/segment-log.ts";
import type { Platform } from "../../platform/platform.ts";
import type { Ledger, LedgerEntry } from "../ledger.ts";

/** Small enough that truncation gives space back often, large enough that a new one is rare. */
const segmentBytes = 16 * 1024 * 1024;
const batchBytesMax = 1024 * 1024;
/** Of a term record and an entry, around the batch. */
const recordOverheadBytes = 256;
/** Entries that are appended together may take some commits, each of whole blocks. */
const commitsOverheadBytes = 64 * 1024;

/** A record's descriptor. docs/format.md, "Ledger". */
const ledgerRecord = union({
  term: struct({ term: u64, lastIndex: u64 }),
  entry: struct({ term: u64, index: u64, batch: bytes(batchBytesMax) }),
});

/** What is known of a segment: up to which index it and those before it go. */
interface SegmentRange {
  readonly segment: number;
  lastIndex: number;
}

/**
 * Opens or creates the ledger in `directory` for its only leader, under a higher term than before.
 * Errors: badChecksum (damaged), versionMismatch (written by a newer program), noSpace, diskFailed.
 */
export async function openFileLedger(platform: Platform, directory: string): Promise<Ledger> {
  const ledger = await FileLedger.open(platform, directory);
  try {
    await ledger.begin(ledger.term + 1);
    return ledger;
  } catch (error) {
    await ledger.close();
    throw error;
  }
}

/**
 * Makes the ledger that belongs to a state from a backup: it goes on behind `index` with terms above `term`. Its only entry
 * is `last`, an empty batch, which stands for the one at `index`. The directory must be missing or empty.
 * Errors: noSpace, diskFailed.
 */
export async function createFileLedger(
  platform: Platform,
  directory: string,
  { term, index, last }: { term: number; index: number; last: Uint8Array },
): Promise<void> {
  const log = await SegmentLog.open(platform, { directory, kind: "LDGR", segmentBytes, onRecord: () => {} });
  try {
    await log.append(encode(ledgerRecord, { kind: "term", term, lastIndex: index - 1 }));
    await log.append(encode(ledgerRecord, { kind: "entry", term, index, batch: Buffer.from(last) }));
  } finally {
    await log.close();
  }
}

/** Which entries are there, and in which segments; checks that nothing is missing between them. */
class Contents {
  readonly #directory: string;
  readonly ranges: SegmentRange[] = [];
  term = 0;
  /** Lowest index that can be read; lastIndex + 1 if none can. */
  firstIndex = 1;
  lastIndex = 0;
  lastEntryTerm = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Under the term that was begun last nothing was appended: its leader has never led. */
  canGoBackTo(term: number): boolean {
    return this.lastEntryTerm <= term && term < this.term && this.lastEntryTerm < this.term;
  }

  add(record: LoggedRecord): void {
    const content = this.#decode(record);
    const isFirst = this.ranges.length === 0;
    if (content.kind === "term") {
      if (isFirst) [this.firstIndex, this.lastIndex] = [content.lastIndex + 1, content.lastIndex];
      const follows = content.term > this.term || this.canGoBackTo(content.term);
      if (!follows || content.lastIndex !== this.lastIndex)
        throw this.#damage(record, `term ${content.term} after term ${this.term}`);
    } else {
      if (isFirst) [this.firstIndex, this.lastIndex, this.term] = [content.index, content.index - 1, content.term];
      const follows = content.index === this.lastIndex + 1 && content.term === this.term;
      if (!follows) throw this.#damage(record, `entry ${content.index} after entry ${this.lastIndex}`);
      this.lastIndex = content.index;
      this.lastEntryTerm = content.term;
    }
    this.term = content.term;
    const range = this.ranges.at(-1);
    if (range?.segment === record.segment) range.lastIndex = this.lastIndex;
    else this.ranges.push({ segment: record.segment, lastIndex: this.lastIndex });
  }

  #decode(record: LoggedRecord): Infer<typeof ledgerRecord> {
    try {
      return decode(ledgerRecord, record.descriptor);
    } catch (error) {
      if (error instanceof CodecError) throw this.#damage(record, error.message);
      throw error;
    }
  }

  #damage(record: LoggedRecord, what: string): BrineError {
    const place = `${this.#directory}, segment ${record.segment}`;
    return new BrineError("badChecksum", `the ledger is damaged: ${what} in ${place}`);
  }
}

export class FileLedger implements Ledger {
  readonly serving = true;
  readonly waitsFor = "the ledger's disk";
  readonly #log: SegmentLog;
  readonly #contents: Contents;
  #appending = false;

  /** Opens it as it is, without a term of its own. Errors: badChecksum, versionMismatch, diskFailed. */
  static async open(platform: Platform, directory: string): Promise<FileLedger> {
    const contents = new Contents(directory);
    const log = await SegmentLog.open(platform, {
      directory,
      kind: "LDGR",
      segmentBytes,
      onRecord: (record) => contents.add(record),
    });
    return new FileLedger(log, contents);
  }

  private constructor(log: SegmentLog, contents: Contents) {
    this.#log = log;
    this.#contents = contents;
  }

  /** Begins a term, higher than any before; durable when it resolves. Errors: noSpace, diskFailed. */
  async begin(term: number): Promise<void> {
    if (term <= this.term) throw new RangeError(`term ${term} begins after term ${this.term}`);
    const record = encode(ledgerRecord, { kind: "term", term, lastIndex: this.lastIndex });
    this.#contents.add(await this.#log.append(record));
  }

  /** Lowest index that can be read. */
  get firstIndex(): number {
    return this.#contents.firstIndex;
  }

  /** Of the last entry; 0 if there is none, or it was removed. */
  get lastEntryTerm(): number {
    return this.#contents.lastEntryTerm;
  }

  get term(): number {
    return this.#contents.term;
  }

  get lastIndex(): number {
    return this.#contents.lastIndex;
  }

  async append(batch: Uint8Array): Promise<number> {
    const index = this.lastIndex + 1;
    await this.#append([{ index, term: this.term, batch }]);
    return index;
  }

  /** Entries of another leader, which follow the last one. Errors: as append; invalid (they don't follow). */
  async appendAll(entries: readonly LedgerEntry[]): Promise<void> {
    // A term that was begun here, and never led under, may be above that of entries which the leader has from before.
    let [index, term] = [this.lastIndex, this.lastEntryTerm];
    for (const entry of entries) {
      if (entry.index !== index + 1 || entry.term < term) {
        const what = `entry ${entry.index} of term ${entry.term} after entry ${index} of term ${term}`;
        throw new BrineError("invalid", `the ledger can't go on with ${what}`);
      }
      ({ index, term } = entry);
    }
    // In one segment: an append that has no room must not be followed by one that has.
    const bytes = entries.reduce((sum, { batch }) => sum + batch.byteLength + recordOverheadBytes, 0);
    await this.#log.reserve(bytes + commitsOverheadBytes);
    await this.#append(entries);
  }

  check(): Promise<void> {
    return this.#log.check();
  }

  /** Makes sure that the next batch of so many bytes has room. Errors: noSpace, diskFailed. */
  reserve(bytes: number): Promise<void> {
    return this.#log.reserve(bytes + recordOverheadBytes);
  }

  /** One sync for all, or a few. */
  async #append(entries: readonly LedgerEntry[]): Promise<void> {
    if (this.#appending) throw new Error("an append to the ledger is under way");
    for (const { batch } of entries) {
      if (batch.byteLength > batchBytesMax) throw new RangeError(`a batch of ${batch.byteLength} bytes`);
    }
    this.#appending = true;
    try {
      let { term } = this;
      const records: Buffer[] = [];
      for (const entry of entries) {
        if (entry.term !== term) {
          ({ term } = entry);
          records.push(encode(ledgerRecord, { kind: "term", term, lastIndex: entry.index - 1 }));
        }
        const { index, batch } = entry;
        records.push(encode(ledgerRecord, { kind: "entry", term, index, batch: Buffer.from(batch) }));
      }
      const written = await Promise.allSettled(records.map((record) => this.#log.append(record)));
      for (const one of written) {
        if (one.status === "rejected") throw one.reason;
        this.#contents.add(one.value);
      }
    } finally {
      this.#appending = false;
    }
  }

  async *read(from: number): AsyncIterable<LedgerEntry> {
    const last = this.lastIndex;
    if (from < this.#contents.firstIndex) {
      const first = this.#contents.firstIndex;
      throw new BrineError("notFound", `ledger entry ${from} was removed; the first one that is left is ${first}`, {
        advice: "the state must come from a server that has applied that entry",
      });
    }
    const range = this.#contents.ranges.find(({ lastIndex }) => lastIndex >= from);
    if (range === undefined || from > last) return;
    for await (const record of this.#log.scan({ segment: range.segment, offset: 0 })) {
      const content = decode(ledgerRecord, record.descriptor);
      if (content.kind !== "entry" || content.index < from) continue;
      if (content.index > last) return;
      yield { index: content.index, term: content.term, batch: content.batch };
    }
  }

  async truncate(index: number): Promise<void> {
    const { ranges } = this.#contents;
    const newest = this.#log.segments().at(-1)!;
    while (ranges[0]!.lastIndex < index && ranges[0]!.segment !== newest && ranges.length > 1) {
      const { segment, lastIndex } = ranges.shift()!;
      // First forgotten, then removed: a reader never starts in what is going away.
      this.#contents.firstIndex = lastIndex + 1;
      await this.#log.removeSegment(segment);
    }
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}
