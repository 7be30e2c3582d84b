/**
 * The store's engine: one disk's log of segments with its index. Knows chunks, blocks, versions and groups; nothing of
 * connections, sessions' lives or who may do what (handlers.ts does).
 *
 *     write ──► journal ──► log (durable) ──► state: index, space, groups ──► answer
 *     read  ──► state: a snapshot of the chunk's extents ──► log.read
 *                         checkpointer: state ──► KeyValue; then reclaimer: dead space ──► disk
 *
 * One event loop owns it all: between two awaits nothing changes.
 */
import { BrineError } from "../errors/brine-error.ts";
import { everyStep } from "../errors/every-step.ts";
import { type LogPosition, queueBytesMax, type SegmentLog } from "../log/segment-log.ts";
import { blockBytes, blocksPerChunk, firstChunkOf } from "../namespace/model.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { responsePayloads } from "../wire/payload-pool.ts";
import { BadBlocks } from "./bad-blocks.ts";
import { BlockReader } from "./block-reader.ts";
import { type BlockWrite, checkRange } from "./block-write.ts";
import { BlockWriter, type Replacement, type Trust } from "./block-writer.ts";
import type { ChunkState } from "./chunk-row.ts";
import type { Compaction } from "./compaction.ts";
import type { Damage, DamageNote } from "./damage.ts";
import { DeletedChunks } from "./deleted-chunks.ts";
import { digestOf } from "./digest.ts";
import { DiskRoom } from "./disk-room.ts";
import { overlapping, type StoredExtent } from "./extents.ts";
import { GroupChanges } from "./group-changes.ts";
import { diskFailed, Journal } from "./journal.ts";
import type { RecordOf, StoreRecord } from "./record.ts";
import { type Opened, openDirectory } from "./replay.ts";
import { ScrubPasses } from "./scrub-passes.ts";
import type { Outcome, State } from "./state.ts";
import { Upkeep } from "./upkeep.ts";

/** Most chunks in one answer of `listChunks`: their rows are decoded for the digests, ≤ 60 KB each. */
const listedChunksMax = 256;

/** What a record takes in the log besides its data, roughly; several share the 4 KiB in front of a commit's data. */
const recordBytes = 512;

export interface StoreOptions {
  /** Its own; made if it is missing. */
  readonly directory: string;
  /** Default: by the size of the disk. */
  readonly segmentBytes?: number;
  /** A checkpoint is made after so much log. Default: 256 MiB. */
  readonly checkpointBytes?: number;
}

export class Store {
  readonly #logger: Logger;
  readonly #directory: string;
  readonly #log: SegmentLog;
  readonly #keyValue: KeyValue;
  readonly #state: State;
  readonly #room: DiskRoom;
  readonly #reader: BlockReader;
  readonly #writer: BlockWriter;
  readonly #upkeep: Upkeep;
  readonly badBlocks: BadBlocks;
  /** Where scrubs are. */
  readonly scrubs: ScrubPasses;
  readonly #journal: Journal;
  readonly #note: DamageNote;
  readonly #groupChanges: GroupChanges;
  readonly #deleted = new DeletedChunks();
  #failure: string | undefined;
  #closed = false;
  /** Called once when the disk has failed. */
  onFailure: (reason: string) => void = () => {};

  /**
   * Opens or makes the store and replays the log onto the last checkpoint of the index. With a damaged log or index it
   * has what could be saved, and `damage` says so.
   * Errors: diskFailed, versionMismatch.
   */
  static async open(platform: Platform, options: StoreOptions): Promise<Store> {
    const opened = await openDirectory(platform, options);
    const room = await DiskRoom.open(platform.disk, options.directory, opened.segmentBytes);
    return new Store(platform, options, opened, room);
  }

  private constructor(platform: Platform, options: StoreOptions, opened: Opened, room: DiskRoom) {
    const { log, keyValue, state, badBlocks, marked, note } = opened;
    this.#note = note;
    note.onIndexDamage = (reason) => this.#fail(`the index is damaged: ${reason}`);
    const { directory, checkpointBytes } = options;
    const logger = platform.logger.for("store");
    this.#logger = logger;
    this.#directory = directory;
    this.#log = log;
    this.#keyValue = keyValue;
    this.#state = state;
    this.#room = room;
    const onFailure = (reason: string) => this.#fail(reason);
    const bad = new BadBlocks(keyValue, state, badBlocks);
    bad.onChange = () => this.#upkeep.changed(0);
    this.badBlocks = bad;
    this.scrubs = new ScrubPasses(keyValue, bad.onChange);
    const reader = new BlockReader({ log, bad, logger });
    this.#reader = reader;
    this.#upkeep = new Upkeep({
      ...{ platform, logger, directory, log, keyValue, state },
      ...{ room, reader, bad, marked, checkpointBytes, onFailure },
    });
    const onCommitApplied = (position: LogPosition) => this.#upkeep.onCommitApplied(position);
    this.#journal = new Journal({ log, state, position: log.end, onCommitApplied, onFailure });
    this.#upkeep.start(this.#journal);
    this.#writer = new BlockWriter({
      state,
      append: (record, blocks, checksum) => this.#append(record, blocks, checksum),
      checkRoom: (restoredBytes) => this.#checkRoom(restoredBytes),
    });
    this.#groupChanges = new GroupChanges(state.groups, async (views) => {
      await this.#append({ kind: "groups", views });
    });
  }

  /** Why the store has stepped down, if it has. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** What the store has lost, as long as the leader doesn't know. */
  get damage(): Damage | undefined {
    return this.#note.damage;
  }

  /** For who tells the leader. */
  get damageNote(): DamageNote {
    return this.#note;
  }

  /** Groups as of the last durable change, by number. */
  get groups(): ReadonlyMap<number, GroupView> {
    return this.#state.groups;
  }

  /** True while a new generation of the group is on its way to the disk: neither it nor the old one holds. */
  isGroupChanging(group: number): boolean {
    return this.#groupChanges.isUnderWay(group);
  }

  /** For heartbeats. `freeBytes`: what clients can still write. */
  get space(): { totalBytes: number; freeBytes: number; badBlocks: number } {
    return { totalBytes: this.#room.totalBytes, freeBytes: this.#room.freeBytes, badBlocks: this.badBlocks.found };
  }

  /** Data behind it that isn't whole at a start looks like a write that was never acknowledged. */
  get lastCommitStart(): LogPosition {
    return this.#log.lastCommitStart;
  }

  /** Bytes of data that chunks hold; shared data counts once. */
  get liveBytes(): number {
    return this.#state.space.totalLiveBytes();
  }

  /**
   * Waits until a write may be taken in: the log's queue is short enough, and the disk has room; or until it is known that it has none.
   * Whatever was checked before must be checked again afterwards.
   */
  async readyToWrite(): Promise<void> {
    do {
      if (this.#room.isFull) await this.#room.refresh();
      if (this.#log.queuedBytes >= queueBytesMax) await this.#journal.settled();
    } while (!this.isReadyToWrite && !this.isFull);
  }

  /** Only the reserve is left; true in earnest after `readyToWrite`. */
  get isFull(): boolean {
    return this.#room.isFull;
  }

  /** True if `readyToWrite` would return at once. */
  get isReadyToWrite(): boolean {
    return !this.#room.isFull && this.#log.queuedBytes < queueBytesMax;
  }

  /**
   * Resolves when the blocks are durable; at once for a chunk that is deleted for good, of which nobody will see anything. Errors:
   * noSpace, badChecksum, superseded, invalid, diskFailed.
   */
  async write(write: BlockWrite, payload: Uint8Array): Promise<void> {
    this.#check();
    if (this.#deleted.has(write.chunk)) return;
    return this.#writer.write(write, payload);
  }

  /**
   * Blocks from `firstBlock` on, without holes, with their data in one buffer. Errors: unknownChunk, invalid, diskFailed.
   */
  async read(
    chunk: number,
    firstBlock: number,
    blockCount: number,
  ): Promise<{ extents: StoredExtent[]; payload: Uint8Array }> {
    this.#check();
    checkRange(firstBlock, blockCount, blockCount * blockBytes);
    const extents = overlapping(this.#chunk(chunk).extents, firstBlock, firstBlock + blockCount);
    return { extents, payload: await this.#reader.read(chunk, extents) };
  }

  /** Errors: unknownChunk, noSpace, diskFailed. */
  async clone(clone: Omit<RecordOf<"clone">, "kind">): Promise<void> {
    this.#check();
    if (this.#deleted.has(clone.chunk)) return;
    if (clone.blockCount > blocksPerChunk) throw new BrineError("invalid", `${clone.blockCount} blocks in a chunk`);
    const present = this.#state.index.get(clone.chunk);
    if (present !== undefined && present.generation >= clone.generation) return;
    this.#checkRoom();
    const outcome = await this.#append({ kind: "clone", ...clone });
    if (outcome === "unknownChunk") throw unknownChunk(clone.source);
  }

  /** Unknown chunks are skipped. Errors: noSpace, diskFailed. */
  async delete(chunks: readonly number[]): Promise<void> {
    this.#check();
    const idle = this.#journal.waitingCount === 0;
    // A write that is on its way may be about to make the chunk.
    const present = idle ? chunks.filter((chunk) => this.#state.index.get(chunk) !== undefined) : [...chunks];
    if (present.length === 0) return;
    await this.#append({ kind: "delete", chunks: present });
    this.#upkeep.hurry();
  }

  /** The same for chunks that must not come back: what is late for them changes nothing. Errors: noSpace, diskFailed. */
  async deleteForGood(chunks: readonly number[]): Promise<void> {
    this.#deleted.add(chunks);
    await this.delete(chunks);
  }

  /** Remembers groups whose generation is higher than known (or equal, with new addresses). Errors: noSpace, diskFailed. */
  async setGroups(views: readonly GroupView[]): Promise<void> {
    this.#check();
    await this.#groupChanges.learn(views);
  }

  /** Lays blocks of another member into the chunk, see `replace` in record.ts. Errors: noSpace, invalid, diskFailed. */
  async replace(replace: Replacement, payload: Uint8Array, trust: Trust): Promise<void> {
    this.#check();
    return this.#writer.replace(replace, payload, trust);
  }

  /** Takes back what another member doesn't have, or marks what nobody has. Errors: noSpace, diskFailed. */
  async discard(record: RecordOf<"discard"> | RecordOf<"deleteEmpty"> | RecordOf<"lose">): Promise<void> {
    this.#check();
    await this.#append(record);
  }

  /** What is known of a chunk now, without its data. */
  chunk(chunk: number): ChunkState | undefined {
    this.#check();
    return this.#state.index.get(chunk);
  }

  /** The same for those who go through all chunks: what is used often isn't forgotten for it. */
  peek(chunk: number): ChunkState | undefined {
    this.#check();
    return this.#state.index.peek(chunk);
  }

  /** Chunks of a group above `after`, in order, each with a digest of its blocks; an empty list is the end. */
  listChunks(group: number, after: number, limit: number): { chunk: number; digest: number }[] {
    this.#check();
    const first = Math.max(firstChunkOf(group), after + 1);
    const numbers = this.#state.index.list(first, firstChunkOf(group + 1), Math.min(limit, listedChunksMax));
    return numbers.map((chunk) => ({ chunk, digest: digestOf(this.#chunk(chunk).extents) }));
  }

  /** Some chunks in the order of their ids, from `first` on; an empty list is the end. */
  chunksFrom(first: number, limit: number): number[] {
    this.#check();
    return this.#state.index.list(first, Number.MAX_SAFE_INTEGER, limit);
  }

  /** Whether all blocks of the range that are there have their checksums, and how many there are. Errors: unknownChunk. */
  async isWhole(
    chunk: number,
    firstBlock: number,
    blockCount: number,
  ): Promise<{ whole: boolean; blockCount: number }> {
    this.#check();
    const extents = overlapping(this.#chunk(chunk).extents, firstBlock, firstBlock + blockCount);
    const { data, ...found } = await this.#reader.isWhole(chunk, extents);
    if (data !== undefined) responsePayloads.giveBack(data);
    return found;
  }

  /** Reads blocks and compares them with their checksums; the bad ones are counted, logged and returned one by one. */
  async findBad(chunk: number, firstBlock: number, blockCount: number): Promise<StoredExtent[]> {
    this.#check();
    checkRange(firstBlock, blockCount, blockCount * blockBytes);
    return this.#reader.findBad(chunk, overlapping(this.#chunk(chunk).extents, firstBlock, firstBlock + blockCount));
  }

  /** Writes what is under way, brings the index up to date and closes. Errors: those of the disk; it is closed all the same. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await everyStep([
      () => this.#upkeep.compaction.stop(),
      // The log checks the data of its very last commit: without any, what rots from now on doesn't look like a torn log.
      () => this.#append({ kind: "groups", views: [] }).catch(() => {}),
      () => this.#upkeep.close(),
      () => this.#log.close(),
      () => this.#keyValue.close(),
    ]);
  }

  /** Makes a checkpoint now and gives back dead space; for tests and orderly pauses. */
  checkpoint(): Promise<void> {
    return this.#upkeep.checkpoint();
  }

  /** Moves live data out of segments that are mostly dead, if there are some, at once. */
  get compaction(): Compaction {
    return this.#upkeep.compaction;
  }

  #append(record: StoreRecord, payload?: Uint8Array, payloadChecksum?: number): Promise<Outcome> {
    this.#upkeep.changed(recordBytes + (payload?.byteLength ?? 0));
    return this.#journal.append(record, payload === undefined ? [] : [payload], payloadChecksum);
  }

  #check(): void {
    if (this.#failure !== undefined) throw diskFailed(this.#failure);
    if (this.#closed) throw new BrineError("notServing", "the store is closing");
  }

  /** @param restoredBytes of a write that must not wait for room: whoever could make some may wait for it */
  #checkRoom(restoredBytes?: number): void {
    if (restoredBytes !== undefined && this.#room.takesRestored(restoredBytes, this.#log.preparedBytes)) return;
    this.#room.check();
  }

  #chunk(chunk: number): ChunkState {
    const state = this.#state.index.get(chunk);
    if (state === undefined) throw unknownChunk(chunk);
    return state;
  }

  #fail(reason: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#upkeep.halt();
    this.#logger.error("the disk has failed: the store steps down", { directory: this.#directory, reason });
    this.onFailure(reason);
  }
}

function unknownChunk(chunk: number): BrineError {
  return new BrineError("unknownChunk", `chunk ${chunk} is not known here`);
}
