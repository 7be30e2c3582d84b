/** The start: opens index and log, and applies to the index what the log has beyond it. */
import { decode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { type LoggedRecord, type LogPosition, SegmentLog } from "../log/segment-log.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Platform } from "../platform/platform.ts";
import { commitIndex, readCheckpoint } from "./checkpointer.ts";
import { segmentBytesFor } from "./disk-room.ts";
import { recordDescriptor, recordFormat, type StoreRecord } from "./record.ts";
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
}

/** Errors: diskFailed, badChecksum (log or index is damaged, or the index is gone), versionMismatch. */
export async function openDirectory(
  platform: Platform,
  options: { directory: string; segmentBytes: number | undefined },
): Promise<Opened> {
  const { directory } = options;
  const { disk } = platform;
  await disk.makeDirectory(segmentsPath(directory));
  const segmentBytes = options.segmentBytes ?? segmentBytesFor((await disk.space(directory)).totalBytes);
  const marked = await isMarked(platform, directory);
  const keyValue = await openIndex(platform, directory);
  try {
    const { position, badBlocks, views } = readCheckpoint(keyValue, indexPath(directory));
    if (marked && position === undefined) throw lostIndex(directory);
    const state = new State(keyValue, views);
    const replay = new Replay(keyValue, state, badBlocks);
    const log = await SegmentLog.open(platform, {
      directory: segmentsPath(directory),
      kind: "stor",
      segmentBytes,
      from: position,
      onRecord: (logged) => replay.apply(logged),
    });
    state.space.keepOnly(new Set(log.segments()));
    return { log, keyValue, state, segmentBytes, badBlocks, marked };
  } catch (error) {
    await keyValue.close();
    throw error;
  }
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

function decodeRecord(descriptor: Uint8Array): StoreRecord {
  const { format, record } = decode(recordDescriptor, descriptor);
  if (format === recordFormat) return record;
  throw new BrineError("versionMismatch", `the store's log has records of format ${format}, known is ${recordFormat}`, {
    advice: "start the server with the version of brinefs that wrote them, or a newer one",
  });
}
