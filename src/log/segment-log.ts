/**
 * An append-only log in segment files with group commit: under the stores' blocks and under the ledger.
 *
 * One commit is in flight. Records appended while it is being synced wait, and make the next commit together: one
 * sync for all. The more callers wait, the more records a sync carries; nobody waits for a timer.
 *
 *     append ──► queue ──► [ commit: area + payloads ] ──► durable write ─────► all its appends resolve
 *
 * Segments are preallocated, so that a sync has no file size to write. A commit never crosses segments. After a restart
 * the log continues in a new segment. A write or sync that failed closes the log for good: after it nobody knows what is
 * on the disk. Only a full disk is met before anything is written, when the next segment is allocated; then the
 * appends that need it fail with noSpace, and later ones try again.
 *
 * The queue has no bound of its own: a caller's buffers stay the caller's until its append ends, and `queuedBytes` tells
 * the owner of the log when to stop taking work in (it should at `queueBytesMax`).
 */
import { Writer } from "../codec/buffers.ts";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { Platform } from "../platform/platform.ts";
import { type Append, isRecord, queuedBytesOf } from "./append.ts";
import { LogMeter } from "./log-meter.ts";
import { recover } from "./recovery.ts";
import { salvage } from "./salvage.ts";
import { asBrineError, SegmentFiles } from "./segment-files.ts";
import {
  areaBytesFor,
  blockBytes,
  commitBytesMax,
  commitRecordsMax,
  descriptorBytesMax,
  encodeArea,
  encodeHeader,
} from "./segment-format.ts";
import { type Commit, recordsOf, SegmentScanner } from "./segment-scanner.ts";

/** Work that may wait: some commits' worth, so that the disk never idles, and no more. */
export const queueBytesMax = 8 * commitBytesMax;

export interface LogPosition {
  readonly segment: number;
  readonly offset: number;
}

export interface LoggedRecord {
  readonly descriptor: Uint8Array;
  /** Where the payload is: `read(segment, payloadOffset, buffer)`. */
  readonly segment: number;
  readonly payloadOffset: number;
  readonly payloadBytes: number;
  /** Behind the commit that holds the record: a replay may start there. */
  readonly end: LogPosition;
}

export interface SegmentLogOptions {
  /** Made if it is missing. Nothing else may keep files named `*.segment` there. */
  readonly directory: string;
  /** Four ASCII letters that say whose log it is. */
  readonly kind: string;
  /** Size of new segments, a multiple of 4 KiB. Existing ones keep theirs. */
  readonly segmentBytes: number;
  /** Replays the commits from here on: an `end` of a record. Default: all. */
  readonly from?: LogPosition | undefined;
  /** Called for each record found, in order, before `open` resolves. */
  readonly onRecord: (record: LoggedRecord) => void;
  /** See recovery.ts. */
  readonly onUnfinished?: (() => Promise<void>) | undefined;
  /**
   * Takes what is left of a damaged log instead of refusing it, tells what is missing, and goes on in a new segment: later
   * opens must ask for a replay from there.
   */
  readonly onDamage?: ((damages: readonly string[]) => void) | undefined;
}

export class SegmentLog {
  readonly #platform: Platform;
  readonly #files: SegmentFiles;
  readonly #kind: string;
  readonly #segmentBytes: number;
  readonly #logId: Uint8Array;
  readonly #meter: LogMeter;
  readonly #area = new Writer(16 * blockBytes);
  #segments: number[];
  #end: LogPosition;
  /** Bytes left in the last segment; 0 after recovery, so that the first append begins a new one. */
  #roomBytes = 0;
  #nextSequence: number;
  /** Nothing behind it is punched. */
  #lastCommitStart: LogPosition;
  #queue: Append[] = [];
  #queuedBytes = 0;
  #committing: Promise<void> | undefined;
  #failure: BrineError | undefined;

  /** Errors: badChecksum (the log is damaged), versionMismatch, invalid (other kind), diskFailed. */
  static async open(platform: Platform, options: SegmentLogOptions): Promise<SegmentLog> {
    const { directory, kind, segmentBytes } = options;
    if (!/^[A-Za-z]{4}$/.test(kind)) throw new RangeError(`kind "${kind}" is not four letters`);
    if (segmentBytes % blockBytes !== 0 || segmentBytes < 3 * blockBytes)
      throw new RangeError(`segments of ${segmentBytes}`);
    const files = new SegmentFiles(platform.disk, platform.clock, directory);
    try {
      await platform.disk.makeDirectory(directory);
      const salvaged = options.onDamage === undefined ? undefined : await salvage(platform, files, options);
      const { lastHeader, lastCommit, ...found } = salvaged ?? (await recover(platform, files, options));
      const { segment, offset } = found.end;
      const lastCommitStart = { segment, offset: lastCommit?.start ?? offset };
      const logId = lastHeader?.logId ?? platform.random.bytes(8);
      const log = new SegmentLog(platform, files, { kind, segmentBytes, logId, lastCommitStart, ...found });
      if (salvaged !== undefined) {
        // Its header alone: the disk may be full.
        await log.#beginSegment(blockBytes);
        options.onDamage?.(salvaged.damages);
      }
      return log;
    } catch (error) {
      await files.close();
      throw asBrineError(error);
    }
  }

  private constructor(
    platform: Platform,
    files: SegmentFiles,
    state: {
      kind: string;
      segmentBytes: number;
      logId: Uint8Array;
      segments: number[];
      end: LogPosition;
      nextSequence: number;
      lastCommitStart: LogPosition;
    },
  ) {
    this.#platform = platform;
    this.#files = files;
    this.#kind = state.kind;
    this.#segmentBytes = state.segmentBytes;
    this.#logId = state.logId;
    this.#segments = state.segments;
    this.#end = state.end;
    this.#nextSequence = state.nextSequence;
    this.#lastCommitStart = state.lastCommitStart;
    this.#meter = new LogMeter(platform.metrics, state.kind, () => this.#queuedBytes);
  }

  /** Behind the last durable commit. */
  get end(): LogPosition {
    return this.#end;
  }

  /** Of the newest commit: a crash checks its payload (recovery.ts, step 5). */
  get lastCommitStart(): LogPosition {
    return this.#lastCommitStart;
  }

  /** Bytes of appends that have not been written yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Bytes that fit into the segment that is being written, whatever room the disk has: it is allocated. */
  get preparedBytes(): number {
    return this.#roomBytes - this.#queuedBytes;
  }

  /** Numbers of all segments, in order; the last one is being written. */
  segments(): number[] {
    return [...this.#segments];
  }

  /**
   * Appends a record; it is durable when this resolves. The order of calls is the order in the log. The buffers must not
   * change until then.
   * @param descriptor at most 2 MiB
   * @param payload buffers of whole 4 KiB blocks together
   * @param payloadChecksum its CRC32C, if that is known: it isn't computed then
   * Errors: noSpace (nothing was appended, try again later), diskFailed (the log is closed for good: whether the record
   * is there is known after the next open), closed, invalid (it is larger than a segment).
   */
  append(descriptor: Uint8Array, payload: readonly Uint8Array[] = [], payloadChecksum?: number): Promise<LoggedRecord> {
    let payloadBytes = 0;
    for (const buffer of payload) payloadBytes += buffer.byteLength;
    if (payloadBytes % blockBytes !== 0) throw new RangeError(`payload of ${payloadBytes} bytes is not whole blocks`);
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      const bytes = areaBytesFor(1, descriptor.byteLength) + payloadBytes;
      if (descriptor.byteLength > descriptorBytesMax || bytes > this.#segmentBytes - blockBytes) {
        const what = `a record of ${descriptor.byteLength} + ${payloadBytes} bytes`;
        return reject(new BrineError("invalid", `${what} does not fit into a segment of ${this.#segmentBytes}`));
      }
      this.#enqueue({ descriptor, payload, payloadBytes, payloadChecksum, resolve, reject });
    });
  }

  /**
   * Makes sure that a record with a descriptor of so many bytes will have room, as long as nothing else is appended.
   * Errors: noSpace, diskFailed (the log is closed for good), closed.
   */
  async reserve(descriptorBytes: number): Promise<void> {
    while (this.#committing !== undefined) await this.#committing;
    if (this.#failure !== undefined) throw this.#failure;
    if (areaBytesFor(1, descriptorBytes) <= this.#roomBytes) return;
    const beginning = this.#beginSegment();
    this.#committing = beginning.then(
      () => {},
      () => {},
    );
    try {
      await beginning;
    } catch (error) {
      if (!hasCode(error, "noSpace")) this.#fail(error, []);
      throw this.#failure ?? error;
    } finally {
      this.#committing = undefined;
      if (this.#queue.length > 0) this.#committing = this.#commitAll();
    }
  }

  /** Makes sure that the log is where it was opened. Errors: diskFailed (it is closed for good), closed. */
  async check(): Promise<void> {
    const segment = this.#segments.at(-1);
    if (this.#failure === undefined && segment !== undefined) {
      await this.#files.look(segment).catch((error) => this.#failure ?? this.#fail(error, []));
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Fills `buffer` from a segment; `fromDisk`: not from memory. Errors: diskFailed (also if the segment ends before). */
  async read(segment: number, offset: number, buffer: Uint8Array, fromDisk = false): Promise<void> {
    const count = await this.#files.read(segment, offset, buffer, fromDisk);
    if (count === buffer.byteLength) return;
    throw new BrineError("diskFailed", `${this.#files.path(segment)} has no ${buffer.byteLength} bytes at ${offset}`);
  }

  /** Bytes that a segment takes on the disk. Errors: diskFailed. */
  allocatedBytes(segment: number): Promise<number> {
    return this.#files.use(segment, (file) => file.allocatedBytes());
  }

  /** The records from `from` (an `end` of a record, or a segment's start) up to what is durable now, in order. */
  async *scan(from: LogPosition): AsyncIterable<LoggedRecord> {
    const end = this.#end;
    let before: Commit | undefined;
    for (const segment of this.segments()) {
      if (segment < from.segment || segment > end.segment) continue;
      let offset = segment === from.segment ? Math.max(from.offset, blockBytes) : blockBytes;
      for (;;) {
        const commits = await this.#files.use(segment, async (file) => {
          const limit = segment === end.segment ? end.offset : await file.size();
          return new SegmentScanner(file, this.#logId, segment, limit).commitsFrom(offset);
        });
        if (commits.length === 0) break;
        for (const commit of commits) {
          const follows =
            before === undefined || before.segment < segment - 1 || before.sequence === commit.sequence - 1;
          if (!follows) throw this.#missing(before!.segment, before!.end);
          before = commit;
          yield* recordsOf(commit);
        }
        offset = before!.end;
      }
      if (segment === end.segment && offset < end.offset) throw this.#missing(segment, offset);
    }
  }

  /**
   * Gives the space of whole blocks of payload back. Nothing may need them any more, a replay neither. Payload of the
   * newest commit first gets an empty commit behind it: a restart checks the payload of the last one.
   */
  async punch(segment: number, offset: number, length: number): Promise<void> {
    if (offset % blockBytes !== 0 || length % blockBytes !== 0 || offset < blockBytes) {
      throw new RangeError(`punch of ${length} bytes at ${offset}`);
    }
    const last = this.#lastCommitStart;
    if (segment === last.segment && offset + length > last.offset) {
      await new Promise<LoggedRecord>((resolve, reject) => {
        if (this.#failure !== undefined) return reject(this.#failure);
        this.#enqueue({ descriptor: undefined, payload: [], payloadBytes: 0, resolve, reject });
      });
    }
    await this.#files.use(segment, (file) => file.punch(offset, length));
  }

  /** Removes a segment whose records nobody needs any more; never the last one. */
  async removeSegment(segment: number): Promise<void> {
    const index = this.#segments.indexOf(segment);
    if (index === -1) return;
    if (index === this.#segments.length - 1) throw new RangeError(`segment ${segment} is the last one`);
    this.#segments.splice(index, 1);
    await this.#files.remove(segment);
  }

  /** Writes what is queued, then closes. Later appends are refused with `closed`. */
  async close(): Promise<void> {
    this.#failure ??= new BrineError("closed", "the log is closed");
    await this.#committing;
    await this.#files.close();
  }

  #missing(segment: number, offset: number): BrineError {
    const path = this.#files.path(segment);
    return new BrineError("badChecksum", `${path} is damaged: no valid commit at ${offset}, where one was written`);
  }

  #enqueue(append: Append): void {
    this.#queue.push(append);
    this.#queuedBytes += queuedBytesOf(append);
    this.#committing ??= this.#commitAll();
  }

  /** Runs as long as something waits: one commit after the other. Never rejects. */
  async #commitAll(): Promise<void> {
    await undefined; // appends of the same turn join the first commit
    while (this.#queue.length > 0) {
      let batch = this.#takeBatch();
      try {
        if (batch.length === 0) {
          await this.#beginSegment();
          batch = this.#takeBatch();
        }
        await this.#commit(batch);
      } catch (error) {
        // Without room for a new segment the first append, which needs it, is refused; a smaller one may still fit.
        if (batch.length === 0 && hasCode(error, "noSpace")) this.#dequeue(1)[0]!.reject(error);
        else this.#fail(error, batch);
      }
    }
    this.#committing = undefined;
  }

  /** Nobody knows what the disk holds now: the log is closed for good. */
  #fail(cause: unknown, batch: readonly Append[]): void {
    const message = cause instanceof Error ? cause.message : String(cause);
    this.#failure = new BrineError("diskFailed", `the log failed and is closed: ${message}`, {
      advice: "look for disk errors in the kernel's log, then start the server again",
      cause,
    });
    this.#platform.logger.error("log failed", { reason: message });
    for (const append of [...batch, ...this.#dequeue(this.#queue.length)]) append.reject(this.#failure);
  }

  /** Takes the appends of the next commit off the queue: as many as fit into it, none if the first one doesn't. */
  #takeBatch(): Append[] {
    let [count, descriptorBytes, payloadBytes] = [0, 0, 0];
    for (const append of this.#queue) {
      if (count === commitRecordsMax) break;
      descriptorBytes += append.descriptor?.byteLength ?? 0;
      payloadBytes += append.payloadBytes;
      const bytes = areaBytesFor(count + 1, descriptorBytes) + payloadBytes;
      if (bytes > this.#roomBytes || (count > 0 && bytes > commitBytesMax)) break;
      count += 1;
    }
    return this.#dequeue(count);
  }

  #dequeue(count: number): Append[] {
    const appends = this.#queue.splice(0, count);
    for (const append of appends) this.#queuedBytes -= queuedBytesOf(append);
    return appends;
  }

  /** Errors: DiskError. */
  async #commit(batch: readonly Append[]): Promise<void> {
    const records = batch.filter(isRecord);
    encodeArea(this.#area, this.#logId, this.#nextSequence, records);
    const area = this.#area.view();
    const { segment, offset } = this.#end;
    const buffers = [area, ...records.flatMap((record) => record.payload)];
    const beganMs = this.#platform.clock.nowMs();
    await this.#files.write(segment, buffers, offset);
    let payloadOffset = offset + area.byteLength;
    const commitBytes = buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
    const end = { segment, offset: offset + commitBytes };
    this.#meter.committed({ records: records.length, bytes: commitBytes, ms: this.#platform.clock.nowMs() - beganMs });
    this.#lastCommitStart = this.#end;
    this.#end = end;
    this.#roomBytes -= commitBytes;
    this.#nextSequence += 1;
    for (const { descriptor = new Uint8Array(0), payloadBytes, resolve } of batch) {
      resolve({ descriptor, segment, payloadOffset, payloadBytes, end });
      payloadOffset += payloadBytes;
    }
  }

  /** Errors: noSpace (no trace is left), diskFailed. */
  async #beginSegment(sizeBytes = this.#segmentBytes): Promise<void> {
    const segment = (this.#segments.at(-1) ?? 0) + 1;
    const header = { kind: this.#kind, logId: this.#logId, segment, firstSequence: this.#nextSequence };
    await this.#files.create(segment, sizeBytes, encodeHeader(header));
    this.#segments.push(segment);
    // The header proves that all before is whole.
    this.#end = { segment, offset: blockBytes };
    this.#lastCommitStart = this.#end;
    this.#roomBytes = sizeBytes - blockBytes;
  }
}
