/**
 * Reads what is left of a damaged log, so that it can go on: for an owner that has its records elsewhere too.
 *
 * Recovery (recovery.ts) refuses damage, because it can't say what was in the bytes that are gone. This is the way that is
 * left then. It delivers every record that is still readable, in their order, and says where some are missing:
 *
 * 1. The log's id comes from the first header that is valid. (Without any header nothing can be told from foreign bytes.)
 * 2. In each segment, commits are read one after the other. Where none is valid, the next valid one further on is looked
 *    for, block by block; what lies between is damage. It counts only if its sequence number is higher than the last
 *    one's, so that old bytes of the same log which somebody has stored as data are not taken for records.
 * 3. Gaps in the sequence numbers are damage, unless segments were removed there.
 * 4. The very last commit is dropped if its payload isn't whole, and written again if it is, as recovery does.
 * 5. Files that can't be read at all are left out, and stay: parts of them may be readable one day.
 *
 * The log goes on in a new segment (segment-log.ts), and its owner never asks for a replay of anything before it again.
 */
import { BrineError } from "../errors/brine-error.ts";
import { DiskError, type DiskFile } from "../platform/disk.ts";
import type { Platform } from "../platform/platform.ts";
import type { Recovered, RecoveryOptions } from "./recovery.ts";
import { type SegmentFiles, writeAgain } from "./segment-files.ts";
import { blockBytes, decodeHeader, type SegmentHeader, segmentOfName } from "./segment-format.ts";
import { type Commit, recordsOf, SegmentScanner } from "./segment-scanner.ts";

/** Sentences about damage that are kept; there may be one for each block of a disk. */
const damagesMax = 20;
/** From the last number that was seen to the next that is given: nothing unseen may have it. */
const sequenceGap = 1_000_000;

export interface Salvaged extends Recovered {
  /** Where records are missing, in words; empty: none is. */
  readonly damages: string[];
}

/** Errors: versionMismatch, invalid (another kind of log), diskFailed (the directory can't be read). */
export async function salvage(platform: Platform, files: SegmentFiles, options: RecoveryOptions): Promise<Salvaged> {
  const names = await platform.disk.list(options.directory);
  const segments = names.map(segmentOfName).filter((segment) => segment !== undefined);
  const run = new Salvage(files, options);
  for (const segment of segments) await run.readHeader(segment);
  for (const [index, segment] of segments.entries()) await run.readSegment(segment, segments[index + 1]);
  return run.result(segments);
}

class Salvage {
  readonly #files: SegmentFiles;
  readonly #options: RecoveryOptions;
  readonly #headers = new Map<number, SegmentHeader>();
  readonly #damages: string[] = [];
  #damageCount = 0;
  #firstHeader: SegmentHeader | undefined;
  #sequence = 0;
  /** Of the last segment from which a commit was read. */
  #segment = 0;

  constructor(files: SegmentFiles, options: RecoveryOptions) {
    this.#files = files;
    this.#options = options;
  }

  async readHeader(segment: number): Promise<void> {
    const path = this.#files.path(segment);
    const header = await this.#tolerant(segment, async (file) => {
      const block = Buffer.alloc(blockBytes);
      return decodeHeader(block.subarray(0, await file.read(block, 0)), path);
    });
    if (header === undefined) return;
    const { kind, logId } = header;
    if (kind !== this.#options.kind) {
      throw new BrineError("invalid", `${path} is of kind ${kind}, wanted is ${this.#options.kind}`);
    }
    const isForeign = this.#firstHeader !== undefined && Buffer.compare(this.#firstHeader.logId, logId) !== 0;
    if (isForeign || header.segment !== segment) {
      this.#damage(`${path} is of another log`);
      return;
    }
    this.#firstHeader ??= header;
    this.#headers.set(segment, header);
  }

  async readSegment(segment: number, next: number | undefined): Promise<void> {
    if (this.#firstHeader === undefined) return;
    const { logId } = this.#firstHeader;
    await this.#tolerant(segment, async (file) => {
      const sizeBytes = await file.size();
      const scanner = new SegmentScanner(file, logId, segment, sizeBytes);
      const header = this.#headers.get(segment);
      if (header === undefined && !(await scanner.isBlank(blockBytes))) {
        this.#damage(`${this.#files.path(segment)} has no valid header`);
      }
      if (header !== undefined && this.#segment === 0) {
        [this.#segment, this.#sequence] = [segment, header.firstSequence - 1];
      }
      let last: Commit | undefined;
      for (let at = blockBytes; at < sizeBytes; ) {
        const commit = await scanner.commitAt(at);
        const isNews = commit !== undefined && commit.sequence > this.#sequence;
        if (!isNews) {
          at += blockBytes;
          continue;
        }
        // The last one of all is known only when nothing follows: it is looked at whenever it might be.
        if (next === undefined && !(await this.#counts(scanner, commit, sizeBytes))) break;
        this.#deliver(commit);
        at = commit.end;
        last = commit;
      }
      if (next === undefined && last !== undefined) await writeAgain(file, last.start, last.end);
      await this.#checkEnd(next);
    });
  }

  result(segments: number[]): Salvaged {
    const more = this.#damageCount - this.#damages.length;
    const last = segments.at(-1) ?? 0;
    return {
      segments,
      lastHeader: this.#firstHeader,
      lastCommit: undefined,
      end: { segment: last, offset: blockBytes },
      nextSequence: this.#sequence + sequenceGap,
      damages: more > 0 ? [...this.#damages, `and ${more} more places`] : this.#damages,
    };
  }

  /** False for a commit of the last segment that is not whole while no later one proves that it once was. */
  async #counts(scanner: SegmentScanner, commit: Commit, sizeBytes: number): Promise<boolean> {
    for (let at = commit.end; at < sizeBytes; at += blockBytes) {
      const later = await scanner.commitAt(at);
      if (later !== undefined && later.sequence > commit.sequence) return true;
      if (later === undefined && at === commit.end && (await scanner.isBlank(at))) break;
    }
    return scanner.payloadIsWhole(commit);
  }

  #deliver(commit: Commit): void {
    const { segment, sequence, start } = commit;
    const jumps = this.#segment !== 0 && sequence !== this.#sequence + 1;
    if (jumps && (segment === this.#segment || segment === this.#segment + 1)) {
      const missing = sequence - this.#sequence - 1;
      this.#damage(`${missing} commits are missing before ${start} of ${this.#files.path(segment)}`);
    }
    [this.#segment, this.#sequence] = [segment, sequence];
    for (const record of recordsOf(commit)) this.#options.onRecord(record);
  }

  /** The next segment's header says how many commits there were. */
  async #checkEnd(next: number | undefined): Promise<void> {
    const header = next === undefined ? undefined : this.#headers.get(next);
    if (header === undefined || this.#segment === 0 || header.segment !== this.#segment + 1) return;
    const missing = header.firstSequence - this.#sequence - 1;
    if (missing <= 0) return;
    this.#damage(`${missing} commits are missing at the end of ${this.#files.path(this.#segment)}`);
    this.#sequence += missing;
  }

  /** Undefined where the file can't be read. */
  async #tolerant<T>(segment: number, action: (file: DiskFile) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#files.use(segment, action);
    } catch (error) {
      const isDisk = error instanceof BrineError && error.code === "diskFailed" && error.cause instanceof DiskError;
      if (!isDisk) throw error;
      this.#damage((error as Error).message);
      return undefined;
    }
  }

  #damage(what: string): void {
    this.#damageCount += 1;
    if (this.#damages.length < damagesMax) this.#damages.push(what);
  }
}
