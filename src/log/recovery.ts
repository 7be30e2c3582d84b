/**
 * Finds out what a log holds after a crash.
 *
 * The writer has one commit in flight: it writes area and payload, syncs, and only then acknowledges and begins the next.
 * A crash can therefore leave one commit unfinished, in any shape: each of its blocks may be on disk or not. It was not
 * acknowledged. If it is whole by chance it counts (its caller may send it again); else it must vanish for good.
 *
 * The obvious way, to stop at the first commit that is not valid, would also stop at a block that rotted in the middle,
 * and silently drop acknowledged commits behind it. So the end has to be the end:
 *
 * 1. Segments in order of their numbers. One without a header was being made when the crash came: it holds nothing and
 *    is removed; if commits are in it nevertheless, its header rotted: damage.
 * 2. In each segment, commits follow each other without gap, with sequence numbers that count up.
 * 3. Where a segment's commits end, the next segment's header says which sequence number comes next. It was written when
 *    all before was durable. If it says more than was found, commits are missing: damage. (Between segments whose numbers
 *    are not neighbours, others were removed: there the numbers may jump ahead.)
 * 4. In the last segment nothing says so. A valid commit further on proves that the one at the stop was finished once:
 *    damage. Otherwise the stop is the end.
 * 5. Payloads are checked for the very last commit only: each other one was durable before its successor was written. Nor is
 *    the last one checked if the replay begins behind it: then its owner has seen it durable.
 *    That makes recovery fast, and lets dead payloads be punched. (The log punches nothing in its last commit.)
 *
 * Then the end is made final, before anyone acts on it:
 *
 * 6. The last commit and the last segment's header are written again, the same bytes, and synced, and so is the directory.
 *    They may stand in the page cache only, because the process died before its sync, or because a sync failed, after which
 *    the kernel takes the pages for clean.
 * 7. The block behind the end is zeroed, so that an unfinished commit is never found again: also if it reads as zeros, since
 *    it may do so in the page cache only, as above. What is left of the segment is given back to the disk, because the log
 *    goes on in a new one.
 *
 * One case is left: a last commit that was acknowledged, and has rotted before a start after a crash, looks like an
 * unfinished one. The log's owner is told of every one that is dropped (`onUnfinished`), and can ask others who have a copy.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { DiskFile } from "../platform/disk.ts";
import type { Platform } from "../platform/platform.ts";
import { asBrineError, type SegmentFiles, writeAgain } from "./segment-files.ts";
import { blockBytes, decodeHeader, type SegmentHeader, segmentOfName } from "./segment-format.ts";
import type { LoggedRecord, LogPosition } from "./segment-log.ts";
import { type Commit, recordsOf, SegmentScanner } from "./segment-scanner.ts";

export interface Recovered {
  /** Numbers of all segments, the lowest first. */
  readonly segments: number[];
  /** Header of the last segment; undefined if the log is new. */
  readonly lastHeader: SegmentHeader | undefined;
  /** The last commit, if it is in the last segment. */
  readonly lastCommit: Commit | undefined;
  readonly end: LogPosition;
  readonly nextSequence: number;
}

export interface RecoveryOptions {
  readonly directory: string;
  readonly kind: string;
  readonly from?: LogPosition | undefined;
  readonly onRecord: (record: LoggedRecord) => void;
  /** Called before an unfinished commit is dropped: it may have been acknowledged once, and rotted since. */
  readonly onUnfinished?: (() => Promise<void>) | undefined;
}

/** Where the first commit of a new log will be. */
export const startOfLog: LogPosition = { segment: 1, offset: blockBytes };

/** Errors: badChecksum (damage), versionMismatch, invalid (another kind of log), diskFailed. */
export async function recover(platform: Platform, files: SegmentFiles, options: RecoveryOptions): Promise<Recovered> {
  const { segments, headers } = await readHeaders(platform, files, options);
  const lastHeader = headers.at(-1);
  const from = options.from ?? startOfLog;
  if (lastHeader === undefined) {
    if (from.segment > startOfLog.segment || from.offset > startOfLog.offset || segments.length > 0) {
      throw damage(options.directory, `segment ${from.segment} and all later ones are missing`);
    }
    return { segments, lastHeader, lastCommit: undefined, end: startOfLog, nextSequence: 1 };
  }
  let found: SegmentEnd | undefined;
  for (const [index, header] of headers.entries()) {
    const replay = new SegmentReplay(files, header, from, options);
    found = await files.use(header.segment, (file) => replay.run(file, headers[index + 1]));
  }
  await platform.disk.syncDirectory(options.directory);
  const { lastCommit, offset, sequence } = found!;
  return { segments, lastHeader, lastCommit, end: { segment: lastHeader.segment, offset }, nextSequence: sequence };
}

/** Headers of the segments that are replayed. Step 1 of the essay. */
async function readHeaders(
  platform: Platform,
  files: SegmentFiles,
  { directory, kind, from }: RecoveryOptions,
): Promise<{ segments: number[]; headers: SegmentHeader[] }> {
  const segments: number[] = [];
  const headers: SegmentHeader[] = [];
  for (const name of await platform.disk.list(directory)) {
    const segment = segmentOfName(name);
    if (segment === undefined) continue;
    if (from !== undefined && segment < from.segment) {
      segments.push(segment);
      continue;
    }
    const path = files.path(segment);
    const header = await files.use(segment, (file) => readHeader(file, path));
    if (header === undefined) {
      platform.logger.info("segment without content removed", { path });
      await files.remove(segment);
      continue;
    }
    if (header.kind !== kind) throw new BrineError("invalid", `${path} is of kind ${header.kind}, wanted is ${kind}`);
    if (header.segment !== segment) throw damage(path, `its header belongs to segment ${header.segment}`);
    const before = headers.at(-1);
    if (before !== undefined && Buffer.compare(before.logId, header.logId) !== 0) {
      throw damage(path, "it belongs to another log");
    }
    segments.push(segment);
    headers.push(header);
  }
  return { segments, headers };
}

async function readHeader(file: DiskFile, path: string): Promise<SegmentHeader | undefined> {
  const start = Buffer.alloc(2 * blockBytes);
  const length = await file.read(start, 0);
  const header = decodeHeader(start.subarray(0, length), path);
  // Commits are written only after the header was synced.
  if (header === undefined && start.subarray(blockBytes).some((byte) => byte !== 0)) {
    throw damage(path, "its header is not valid");
  }
  return header;
}

interface SegmentEnd {
  readonly lastCommit: Commit | undefined;
  readonly offset: number;
  /** Sequence number of the commit that comes next. */
  readonly sequence: number;
}

/** Steps 2 to 7 of the essay, for one segment. */
class SegmentReplay {
  readonly #files: SegmentFiles;
  readonly #header: SegmentHeader;
  readonly #from: LogPosition;
  readonly #options: Pick<RecoveryOptions, "onRecord" | "onUnfinished">;

  constructor(
    files: SegmentFiles,
    header: SegmentHeader,
    from: LogPosition,
    options: Pick<RecoveryOptions, "onRecord" | "onUnfinished">,
  ) {
    this.#files = files;
    this.#header = header;
    this.#from = from;
    this.#options = options;
  }

  async run(file: DiskFile, next: SegmentHeader | undefined): Promise<SegmentEnd> {
    const sizeBytes = await file.size();
    const scanner = new SegmentScanner(file, this.#header.logId, this.#header.segment, sizeBytes);
    const ends = new Set([blockBytes]);
    let [before, last]: [Commit | undefined, Commit | undefined] = [undefined, undefined];
    for (;;) {
      const commit = await scanner.commitAt(last?.end ?? blockBytes);
      if (commit === undefined || commit.sequence !== this.#sequenceAfter(last)) break;
      // Delivered one commit late: whether the last one counts is known only after it.
      if (last !== undefined) this.#deliver(last);
      [before, last] = [last, commit];
      if (commit.end === this.#from.offset) ends.add(commit.end);
    }
    if (next === undefined) {
      if (last !== undefined && !this.#isKnown(last) && !(await scanner.payloadIsWhole(last))) last = before;
      else if (last !== undefined) this.#deliver(last);
    } else if (last !== undefined) this.#deliver(last);
    const end = { lastCommit: last, offset: last?.end ?? blockBytes, sequence: this.#sequenceAfter(last) };
    this.#checkStart(end.offset, ends);
    await this.#checkEnd(scanner, sizeBytes, end, next);
    if (next === undefined) await this.#makeFinal(file, scanner, sizeBytes, end);
    return end;
  }

  /** The owner has seen it durable: if its payload isn't whole, it has rotted. */
  #isKnown(commit: Commit): boolean {
    return commit.segment === this.#from.segment && commit.end <= this.#from.offset;
  }

  #sequenceAfter(commit: Commit | undefined): number {
    return commit === undefined ? this.#header.firstSequence : commit.sequence + 1;
  }

  #deliver(commit: Commit): void {
    const wanted = commit.segment > this.#from.segment || commit.start >= this.#from.offset;
    if (wanted) for (const record of recordsOf(commit)) this.#options.onRecord(record);
  }

  #checkStart(end: number, ends: Set<number>): void {
    const { segment, offset } = this.#from;
    if (segment !== this.#header.segment || offset <= blockBytes) return;
    if (offset > end || !ends.has(offset)) {
      throw damage(
        this.#files.path(segment),
        `no commit ends at ${offset}, from where the log is wanted; it ends at ${end}`,
      );
    }
  }

  /** Steps 3 and 4. */
  async #checkEnd(
    scanner: SegmentScanner,
    sizeBytes: number,
    { offset, sequence }: SegmentEnd,
    next: SegmentHeader | undefined,
  ): Promise<void> {
    const path = this.#files.path(this.#header.segment);
    if (next !== undefined && next.firstSequence === sequence) return;
    const neighbours = next !== undefined && next.segment === this.#header.segment + 1;
    if (next !== undefined && (neighbours || next.firstSequence < sequence)) {
      throw damage(
        path,
        `commit ${sequence} is damaged at ${offset}: the next segment begins with ${next.firstSequence}`,
      );
    }
    for (let at = offset + blockBytes; at < sizeBytes; at += blockBytes) {
      const later = await scanner.commitAt(at);
      if (later !== undefined && later.sequence > sequence) {
        throw damage(path, `commit ${sequence} is damaged at ${offset}: commit ${later.sequence} follows at ${at}`);
      }
    }
  }

  /** Steps 6 and 7. */
  async #makeFinal(file: DiskFile, scanner: SegmentScanner, sizeBytes: number, end: SegmentEnd): Promise<void> {
    const { lastCommit, offset } = end;
    await writeAgain(file, 0, blockBytes);
    if (lastCommit !== undefined) await writeAgain(file, lastCommit.start, offset);
    const isBlank = await scanner.isBlank(offset);
    if (!isBlank) await this.#options.onUnfinished?.();
    if (offset + blockBytes <= sizeBytes) await zeroBlock(file, offset, isBlank);
    await file.syncData();
    if (offset < sizeBytes) await file.punch(offset, sizeBytes - offset);
  }
}

/** Errors: DiskError, but for a full disk under a block that was given back: it was zeroed durably before. */
async function zeroBlock(file: DiskFile, offset: number, isBlank: boolean): Promise<void> {
  try {
    await file.write([Buffer.alloc(blockBytes)], offset);
  } catch (error) {
    if (!isBlank || !hasCode(asBrineError(error), "noSpace")) throw error;
  }
}

function damage(path: string, what: string): BrineError {
  return new BrineError("badChecksum", `${path} is damaged: ${what}`, {
    advice:
      "look for disk errors in the kernel's log; remove this server's data directory only if another server holds all of it",
  });
}
