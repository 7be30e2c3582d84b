/** The start: opens index and log, and applies to the index what the log has beyond it. */
import { hasCode } from "../errors/brine-error.ts";
import type { LoggedRecord, LogPosition, SegmentLog } from "../log/segment-log.ts";
import { DiskError } from "../platform/disk.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Platform } from "../platform/platform.ts";
import { commitIndex, readCheckpoint } from "./checkpointer.ts";
import { DamageNote } from "./damage.ts";
import { segmentBytesFor } from "./disk-room.ts";
import { openSegments } from "./open-segments.ts";
import { rebuildIndex } from "./rebuild.ts";
import { decodeRecord } from "./record.ts";
import { State } from "./state.ts";
import { indexPath, isMarked, lostIndex, openIndex, segmentsPath } from "./store-directory.ts";

export interface Opened {
  readonly log: SegmentLog;
  readonly keyValue: KeyValue;
  readonly state: State;
  readonly segmentBytes: number;
  readonly badBlocks: number;
  /** The index has been durable before. */
  readonly marked: boolean;
  /** What the store has lost, if anything. */
  readonly note: DamageNote;
}

/**
 * A store whose log or index is damaged is opened too, with what is left of it (rebuild.ts); `note` says so then.
 * Errors: diskFailed, versionMismatch.
 */
export async function openDirectory(
  platform: Platform,
  options: { readonly directory: string; readonly segmentBytes?: number | undefined },
): Promise<Opened> {
  const { directory } = options;
  const { disk } = platform;
  await disk.makeDirectory(segmentsPath(directory));
  const segmentBytes = options.segmentBytes ?? segmentBytesFor((await disk.space(directory)).totalBytes);
  const note = await DamageNote.read(platform, directory);
  const wanted = { directory, segmentBytes, note };
  if (note.damage?.rebuild !== true) {
    try {
      return await openWhole(platform, wanted);
    } catch (error) {
      if (!isDamage(error)) throw error;
      await note.note({ loss: "certain", rebuild: true, reason: (error as Error).message });
    }
  }
  return rebuildIndex(platform, wanted);
}

/** Errors: diskFailed, versionMismatch, and whatever a damaged log or index leads to. */
async function openWhole(
  platform: Platform,
  options: { directory: string; segmentBytes: number; note: DamageNote },
): Promise<Opened> {
  const { directory, segmentBytes, note } = options;
  const marked = await isMarked(platform, directory);
  const keyValue = await openIndex(platform, directory, note);
  try {
    const { position, badBlocks, views } = readCheckpoint(keyValue, indexPath(directory));
    if (marked && position === undefined) throw lostIndex(directory);
    const state = new State(keyValue, views, (damage) => note.noteIndex(damage));
    const replay = new Replay(keyValue, state, badBlocks);
    const log = await openSegments(platform, {
      directory,
      segmentBytes,
      from: position,
      onRecord: (logged) => replay.apply(logged),
      onUnfinished: () => note.note({ loss: "possible", rebuild: false, reason: "the last commit was not whole" }),
    });
    state.space.keepOnly(new Set(log.segments()));
    return { log, keyValue, state, segmentBytes, badBlocks, marked, note };
  } catch (error) {
    await keyValue.close();
    throw error;
  }
}

/** Not a disk that fails, and not another version: bytes that make no sense. */
function isDamage(error: unknown): boolean {
  return hasCode(error, "badChecksum") || (error instanceof DiskError && error.code === "EUCLEAN");
}

class Replay {
  readonly #keyValue: KeyValue;
  readonly #state: State;
  readonly #badBlocks: number;
  /** Up to here everything is applied, if the next record is of another commit. */
  #end: LogPosition | undefined;

  constructor(keyValue: KeyValue, state: State, badBlocks: number) {
    this.#keyValue = keyValue;
    this.#state = state;
    this.#badBlocks = badBlocks;
  }

  apply(logged: LoggedRecord): void {
    const before = this.#end;
    const isNextCommit =
      before !== undefined && (before.segment !== logged.end.segment || before.offset !== logged.end.offset);
    if (isNextCommit && this.#state.index.isHeavy) commitIndex(this.#keyValue, this.#state, before, this.#badBlocks);
    this.#end = logged.end;
    this.#state.apply(decodeRecord(logged.descriptor), logged);
  }
}
