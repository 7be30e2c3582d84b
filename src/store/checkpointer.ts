/**
 * Brings the index on disk up to date: all that was changed in memory, and the position of the log up to which it is
 * true, in one commit of the KeyValue; then makes the commit durable. Only what lies below a durable checkpoint may be
 * given back to the disk, and only from there on is the log needed at the next start.
 *
 * A commit can only be made at the end of a commit of the log (journal.ts says when), so a checkpoint that is due waits
 * for the next one.
 */
import { decode, encode, type Infer, list, struct, u16, u64 } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { LogPosition } from "../log/segment-log.ts";
import type { Clock } from "../platform/clock.ts";
import type { KeyValue } from "../platform/key-value.ts";
import { type GroupView, groupView } from "../wire/catalogue/leader.ts";
import { isNoSpace } from "./journal.ts";
import { groupsKey, metaKey } from "./keys.ts";
import type { State } from "./state.ts";

/** Bounds the replay of a start: of 4 KiB writes these are 60,000 records, half a second. */
const defaultLogBytesMax = 256 * 1024 * 1024;
/** Bounds the replay after little work, and how long dead space stays taken. */
const dirtyMsMax = 5_000;
/** Grows with every change of the index's rows. */
export const indexFormat = 1;

const metaRecord = struct({ format: u16, segment: u64, offset: u64, badBlocks: u64 });
const groupsRecord = struct({ views: list(groupView, 8192) });

export interface Checkpoint {
  readonly position: LogPosition | undefined;
  readonly badBlocks: number;
  readonly views: readonly GroupView[];
}

/** The last checkpoint; without a position for a new index. Errors: versionMismatch. */
export function readCheckpoint(keyValue: KeyValue, path: string): Checkpoint {
  const row = keyValue.get(metaKey);
  if (row === undefined) return { position: undefined, badBlocks: 0, views: [] };
  const format = row.byteLength >= 2 ? row[0]! + row[1]! * 256 : 0;
  if (format !== indexFormat) {
    throw new BrineError("versionMismatch", `${path} has format ${format}, this program knows ${indexFormat}`, {
      advice: "start the server with the version of brinefs that wrote it, or a newer one",
    });
  }
  const meta: Infer<typeof metaRecord> = decode(metaRecord, row);
  const groups = keyValue.get(groupsKey);
  return {
    position: { segment: meta.segment, offset: meta.offset },
    badBlocks: meta.badBlocks,
    views: groups === undefined ? [] : decode(groupsRecord, groups).views,
  };
}

export class Checkpointer {
  readonly #clock: Clock;
  readonly #keyValue: KeyValue;
  readonly #state: State;
  readonly #logBytesMax: number;
  readonly #badBlocks: () => number;
  readonly #onDurable: (position: LogPosition) => void;
  readonly #onFailure: (error: unknown) => void;
  #bytes = 0;
  #dirtySinceMs: number | undefined;
  #wanted = false;
  #running: Promise<void> | undefined;

  constructor(options: {
    clock: Clock;
    keyValue: KeyValue;
    state: State;
    logBytesMax?: number;
    badBlocks: () => number;
    onDurable: (position: LogPosition) => void;
    onFailure: (error: unknown) => void;
  }) {
    this.#clock = options.clock;
    this.#keyValue = options.keyValue;
    this.#state = options.state;
    this.#logBytesMax = options.logBytesMax ?? defaultLogBytesMax;
    this.#badBlocks = options.badBlocks;
    this.#onDurable = options.onDurable;
    this.#onFailure = options.onFailure;
  }

  /** Something has changed that the index on disk does not have yet. */
  changed(logBytes: number): void {
    this.#bytes += logBytes;
    this.#dirtySinceMs ??= this.#clock.nowMs();
  }

  /** Asks for a checkpoint as soon as there is something to save. */
  want(): void {
    this.#wanted = true;
  }

  get due(): boolean {
    if (this.#state.index.isHeavy) return true;
    if (this.#dirtySinceMs === undefined || this.#running !== undefined) return false;
    return this.#wanted || this.#bytes >= this.#logBytesMax || this.#clock.nowMs() - this.#dirtySinceMs >= dirtyMsMax;
  }

  /** Commits the state, which is that of the log at `position`, and makes it durable if none is under way. */
  take(position: LogPosition): void {
    const isRunning = this.#running !== undefined;
    this.#wanted = false;
    this.#bytes = 0;
    // A commit while an older one is being made durable needs a checkpoint of its own later.
    this.#dirtySinceMs = isRunning ? this.#clock.nowMs() : undefined;
    try {
      commitIndex(this.#keyValue, this.#state, position, this.#badBlocks());
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (isRunning) return;
    this.#running = this.#keyValue.checkpoint().then(
      () => {
        this.#running = undefined;
        this.#onDurable(position);
      },
      (error) => {
        this.#running = undefined;
        this.#failed(error);
      },
    );
  }

  /** A disk that others have filled is not a broken one: what was to be committed stays in memory and in the log. */
  #failed(error: unknown): void {
    if (isNoSpace(error)) this.#dirtySinceMs = this.#clock.nowMs();
    else this.#onFailure(error);
  }

  /** Resolves when none is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }
}

/** Everything that has changed in memory, and the position up to which it is true, in one commit. */
export function commitIndex(keyValue: KeyValue, state: State, position: LogPosition, badBlocks: number): void {
  state.save();
  keyValue.put(groupsKey, encode(groupsRecord, { views: [...state.groups.values()] }));
  keyValue.put(metaKey, encode(metaRecord, { format: indexFormat, ...position, badBlocks }));
  keyValue.commit();
}
