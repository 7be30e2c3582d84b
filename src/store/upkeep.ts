/**
 * What goes on besides requests: when to checkpoint, what to give back to the disk afterwards, when to compact, how much
 * room there is.
 */
import type { LogPosition, SegmentLog } from "../log/segment-log.ts";
import { queueBytesMax } from "../log/segment-log.ts";
import type { Timer } from "../platform/clock.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import type { BadBlocks } from "./bad-blocks.ts";
import { type BlockReader, diskMessageOf } from "./block-reader.ts";
import { Checkpointer } from "./checkpointer.ts";
import { Compaction } from "./compaction.ts";
import type { DiskRoom } from "./disk-room.ts";
import type { Journal } from "./journal.ts";
import { Reclaimer } from "./reclaim.ts";
import type { StoreRecord } from "./record.ts";
import type { State } from "./state.ts";
import { writeMark } from "./store-directory.ts";

/** Space is asked for and checkpoints are considered this often. */
const tickMs = 1000;

export interface UpkeepParts {
  readonly platform: Platform;
  readonly logger: Logger;
  readonly directory: string;
  readonly log: SegmentLog;
  readonly keyValue: KeyValue;
  readonly state: State;
  readonly room: DiskRoom;
  readonly reader: BlockReader;
  readonly bad: BadBlocks;
  /** The index has been durable before. */
  readonly marked: boolean;
  readonly checkpointBytes: number | undefined;
  readonly onFailure: (reason: string) => void;
}

export class Upkeep {
  readonly #parts: UpkeepParts;
  readonly #checkpointer: Checkpointer;
  readonly #reclaimer: Reclaimer;
  readonly compaction: Compaction;
  #journal: Journal | undefined;
  #marked: boolean;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#marked = parts.marked;
    const { platform, logger, log, keyValue, state, room, reader, bad } = parts;
    this.#checkpointer = new Checkpointer({
      clock: platform.clock,
      keyValue,
      state,
      ...(parts.checkpointBytes !== undefined && { logBytesMax: parts.checkpointBytes }),
      badBlocks: () => bad.found,
      onDurable: (position) => void this.#onDurable(position),
      onFailure: (error) => parts.onFailure(`index: ${diskMessageOf(error)}`),
    });
    this.#reclaimer = new Reclaimer({
      log,
      space: state.space,
      gate: reader.gate,
      logger,
      onReclaimed: () => {
        this.changed(0);
        void room.refresh();
      },
    });
    this.compaction = new Compaction({
      ...{ clock: platform.clock, logger, log, state, room, reader },
      append: (record, payload) => this.#append(record, payload),
      readyToWrite: async () => {
        while (log.queuedBytes >= queueBytesMax / 2) await this.#journal!.settled();
      },
      onFreed: () => this.#checkpointer.want(),
    });
  }

  start(journal: Journal): void {
    this.#journal = journal;
    // What was replayed goes into a checkpoint soon, so that the next start has less to do.
    this.changed(0);
    this.#startTimer();
    this.compaction.start();
  }

  /** So much goes into the log, or something else has changed that the index on disk doesn't have. */
  changed(logBytes: number): void {
    this.#parts.room.wrote(logBytes);
    this.#checkpointer.changed(logBytes);
  }

  /** Space has died, and there is little of it left: it should be given back soon. */
  hurry(): void {
    if (this.#parts.room.isTight) this.#checkpointer.want();
  }

  /** All records up to a position are applied (journal.ts). */
  onCommitApplied(position: LogPosition): void {
    if (!this.#stopped && this.#checkpointer.due) this.#checkpointer.take(position);
  }

  /** Makes a checkpoint now and gives back dead space. */
  async checkpoint(): Promise<void> {
    await this.#journal?.idle();
    await this.#checkpointer.idle();
    if (!this.#stopped) this.#checkpointer.take(this.#journal!.position);
    await this.#checkpointer.idle();
    await this.#reclaimer.idle();
  }

  /** The store has failed: nothing is written any more. */
  halt(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    void this.compaction.stop();
  }

  /** Ends it, with a last checkpoint unless the store has failed. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.compaction.stop();
    await this.#journal?.idle();
    await this.#checkpointer.idle();
    await this.#reclaimer.close();
    await this.#parts.reader.gate.quiesce();
    if (!this.#stopped) this.#checkpointer.take(this.#journal!.position);
    this.#stopped = true;
    await this.#checkpointer.idle();
  }

  async #onDurable(position: LogPosition): Promise<void> {
    if (this.#stopped) return;
    const { platform, directory, logger, room } = this.#parts;
    try {
      if (!this.#marked) await writeMark(platform, directory);
      this.#marked = true;
    } catch (error) {
      logger.warn("dead space is kept: the store's mark could not be written", { error: diskMessageOf(error) });
      return;
    }
    this.#reclaimer.run(position, room.isTight);
  }

  #append(record: StoreRecord, payload?: Uint8Array): Promise<unknown> {
    this.changed(payload?.byteLength ?? 0);
    return this.#journal!.append(record, payload === undefined ? [] : [payload]);
  }

  #startTimer(): void {
    this.#timer = this.#parts.platform.clock.startTimer(tickMs, () => {
      void this.#tick();
    });
  }

  async #tick(): Promise<void> {
    const { room, log, onFailure } = this.#parts;
    await room.refresh();
    if (this.#stopped) return;
    await log.check().catch((error) => this.#stopped || onFailure(diskMessageOf(error)));
    if (this.#stopped) return;
    const journal = this.#journal!;
    if (journal.waitingCount === 0) this.onCommitApplied(journal.position);
    this.#startTimer();
  }
}
