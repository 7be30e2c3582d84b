/**
 * The content of one file under a lease: where its chunks lie, what of it is here (dirty, clean, on its way), who is at work
 * on which bytes. It lives as long as the lease; the next lease of the inode begins with a new one.
 *
 *     read, write, setSize ──► reader.ts, writer.ts, truncate.ts
 *                                  │ lock, views, loads            │ put
 *                                  ▼                               ▼
 *                              ChunkView (what reads see)      DirtyBlocks ──► WriteBack ──► stores
 *
 * Bytes beyond the file's size in the last mapped chunk are *undefined* on the stores: a write that was never finished (its
 * client died, its transaction was refused) may have left something there. So nobody reads them, whoever completes a
 * block that reaches beyond the size takes zeros for them, and whoever moves the size over them makes them zeros first
 * (extend.ts). What is here has zeros there.
 */
import { FileError } from "../../errors/file-error.ts";
import { type Attributes, blockBytes, type Mapping } from "../../namespace/model.ts";
import type { Version } from "../../wire/catalogue/store.ts";
import type { Allocation } from "../file-system.ts";
import type { Node } from "../node.ts";
import type { Soon } from "../soon.ts";
import type { Operation } from "../waits.ts";
import type { Span } from "./buffer-pool.ts";
import { ChunkMap, type MapFetcher, wholeMap } from "./chunk-map.ts";
import { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import { DirtyBlocks, type Origin } from "./dirty-blocks.ts";
import { Loads } from "./load.ts";
import { RangeLock } from "./range-lock.ts";
import type { ReadRequest } from "./reader.ts";
import type { Sought } from "./seek.ts";
import type { SizeChange } from "./truncate.ts";
import { streamBytes } from "./write-back.ts";
import type { WriteRequest } from "./writer.ts";

/** A file's chunk map as a lease brings it: whole, or its beginning. */
export interface KnownMap {
  readonly mappings: readonly Mapping[];
  readonly mappedBelow: number;
}

const neverAsked: MapFetcher = () => Promise.reject(new Error("a map that is whole was asked for"));

export class FileContent {
  readonly node: Node;
  /** As of now here; changed by the rules when they run on the cached records. */
  readonly map: ChunkMap;
  readonly #contents: Contents;
  // Made when they are needed: a client has leases on very many files that it only looks at.
  #lock: RangeLock | undefined;
  #loads: Loads | undefined;
  #views: Map<number, ChunkView> | undefined;
  /** While something is dirty. */
  #dirty: DirtyBlocks | undefined;
  #mark = 0;
  #isDropped = false;
  /** The journal entry that was changed last, and the size before it. */
  #entryPosition = 0;
  #sizeBeforeEntry = 0;
  /** Sizes that the file had before truncates which may not be committed yet. */
  #shrunk: { readonly position: number; readonly size: number }[] = [];
  errorCount = 0;
  lastError: FileError | undefined;

  constructor(contents: Contents, node: Node, { mappings, mappedBelow }: KnownMap) {
    this.#contents = contents;
    this.node = node;
    const fetch = mappedBelow === wholeMap ? neverAsked : contents.fetcherOf(node.inode);
    this.map = new ChunkMap(mappings, mappedBelow, fetch);
  }

  /** Of the file, also if this is the content of one of its chunks. */
  get inode(): number {
    return (this.node.file ?? this.node).inode;
  }

  /** From whose groups new chunks are to come. */
  get pool(): number {
    return (this.node.file ?? this.node).record.pool;
  }

  get size(): number {
    return this.node.record.attributes.size;
  }

  /** Up to `length` bytes at `offset`: see reader.ts. The lease is pinned. Errors: EIO. */
  read(request: ReadRequest, operation: Operation): Soon<readonly Uint8Array[]> {
    return this.#contents.reader.read(this, request, operation);
  }

  /** Returns the bytes written: see writer.ts. The exclusive lease is pinned. Errors: ENOSPC, EFBIG, EIO. */
  write(request: WriteRequest, operation: Operation): Soon<number> {
    return this.#contents.writer.write(this, request, operation);
  }

  /** The exclusive lease is pinned. Errors: ENOSPC, EFBIG, EIO. */
  setSize(change: SizeChange, operation: Operation): Promise<Attributes> {
    return this.#contents.truncater.setSize(this, change, operation);
  }

  /** Zeros in the middle, and a later end: see punch.ts. The exclusive lease is pinned. Errors: ENOSPC, EFBIG, EIO. */
  allocate(asked: Allocation, operation: Operation): Promise<void> {
    return this.#contents.puncher.allocate(this, asked, operation);
  }

  /** Where data, or a hole, begins: see seek.ts. The shared lease is pinned. Errors: EIO (the session has ended). */
  seek(sought: Sought, operation: Operation): Promise<number | undefined> {
    return this.#contents.seeker.seek(this, sought, operation);
  }

  // --- for the journal ---

  /** Counts the writes to this content. */
  get mark(): number {
    return this.#dirty?.mark ?? this.#mark;
  }

  get isClean(): boolean {
    return this.#dirty === undefined;
  }

  /** Everything written up to `mark` is on the disks of all members that count. */
  isDurable(mark: number): boolean {
    return this.#dirty?.isDurable(mark) ?? true;
  }

  get isUnderWay(): boolean {
    return this.#dirty?.isUnderWay ?? true;
  }

  /** Makes it so, as far as the journal's state allows it: see dirty-blocks.ts. */
  flush(mark: number): void {
    this.#dirty?.flush(mark);
  }

  /** Resolves when everything written so far is on the disks of all members that count. Errors: EIO (the session has ended). */
  async durable(operation: Operation): Promise<void> {
    const { journal, session, writeBack } = this.#contents;
    const { mark } = this;
    while (!this.isDurable(mark)) {
      await journal.committed(this.dirty.heldBy, operation);
      this.flush(mark);
      // What a later write has joined may have to wait once more.
      if (this.isDurable(mark) || this.dirty.heldBy > 0) continue;
      operation.waitsFor = "the stores, to write data";
      await writeBack.progress();
    }
    if (session.ended) throw new FileError("EIO", "the session has ended");
  }

  /** The lease goes back entirely; everything is clean. */
  drop(): void {
    if (!this.isClean) throw new Error(`inode ${this.inode}: a lease goes back before the data is on the stores`);
    this.#forget();
  }

  /** The session has ended. Returns true if something that was written is lost by it. */
  lose(): boolean {
    const lost = this.#dirty?.lose() ?? false;
    this.#forget();
    return lost;
  }

  /** Data that was acknowledged is lost. */
  failed(error: FileError): void {
    this.errorCount += 1;
    this.lastError = error;
    const node = this.node.file ?? this.node;
    node.errorCount += 1;
    this.#contents.log.error("written data is lost", { inode: node.inode, reason: error.message });
  }

  // --- for reader, writer, truncater ---

  get lock(): RangeLock {
    this.#lock ??= new RangeLock();
    return this.#lock;
  }

  get loads(): Loads {
    this.#loads ??= new Loads(this.#contents);
    return this.#loads;
  }

  get dirty(): DirtyBlocks {
    this.#dirty ??= new DirtyBlocks(this.#contents, this, this.#mark);
    return this.#dirty;
  }

  /** Nothing is dirty any more. */
  cleaned(): void {
    this.#mark = this.mark;
    this.#dirty = undefined;
  }

  /** Lays whole blocks into a chunk: they are dirty from now on. The span's retained reference is given away. */
  put(view: ChunkView, first: number, span: Span, origin: Origin, grantedBytes: number): void {
    this.outdate(view, first, first + span.bytes.byteLength / blockBytes);
    this.dirty.put(view, first, span, origin, grantedBytes);
  }

  /** Blocks of the chunk are changing. */
  outdate(view: ChunkView, from: number, to: number): void {
    this.#loads?.outdate(view, from, to);
  }

  /** What is here of a chunk; undefined for a hole. */
  view(index: number): ChunkView | undefined {
    const known = this.#views?.get(index);
    if (known !== undefined) return known;
    const chunk = this.map.get(index);
    if (chunk === undefined) return undefined;
    return this.#addView(index, chunk, { mappedAt: 0, isStored: true, isZeroBehindEnd: false });
  }

  viewIfAny(index: number): ChunkView | undefined {
    return this.#views?.get(index);
  }

  /** A chunk that nothing was ever written to, before it is mapped. It isn't seen until `adopt`. */
  newView(index: number, chunk: number, isStored: boolean): ChunkView {
    return new ChunkView(this, index, chunk, this.#contents.cache, { mappedAt: 0, isStored, isZeroBehindEnd: true });
  }

  /** The chunk was mapped by the journal entry at `position`. */
  adopt(view: ChunkView, position: number): void {
    view.mappedAt = position;
    this.#setView(view);
  }

  /** The journal entry at `position` mapped a chunk there that is on the stores; whatever was there before goes. */
  replaceChunk(index: number, chunk: number, position: number): void {
    this.cutViews(index, index + 1);
    this.adopt(this.newView(index, chunk, true), position);
  }

  /** False if the chunk is not known by this view any more. */
  keepsView(view: ChunkView): boolean {
    if (this.#isDropped) return false;
    const known = this.#views?.get(view.index);
    if (known === undefined && this.map.knows(view.index) && this.map.get(view.index) === view.chunk) {
      this.#setView(view);
      return true;
    }
    return known === view;
  }

  /** Nothing is here of the chunk. (What operations under way have in hand stays the one view of its chunk.) */
  forgetView(view: ChunkView): void {
    if (!view.isStored || this.#views?.get(view.index) !== view || this.#lock?.idle === false) return;
    this.#views.delete(view.index);
    if (this.#views.size === 0) this.#views = undefined;
  }

  /** The views of chunks with these indexes go, and nothing that is being loaded is kept; what is dirty stays on its way. */
  cutViews(from: number, below = Number.POSITIVE_INFINITY): void {
    this.#loads?.outdateAll();
    for (const [index, view] of [...(this.#views ?? [])]) {
      if (index < from || index >= below) continue;
      view.cut(0, Number.POSITIVE_INFINITY);
      this.#views?.delete(index);
    }
  }

  /** A version above all that were made before. Errors: EIO (the session has ended). */
  nextVersion(): Version {
    const { mode } = this.node;
    if (mode === undefined) throw new FileError("EIO", "the session has ended");
    if (mode !== "exclusive") throw new Error(`inode ${this.inode} is written under a ${mode} lease`);
    return { grant: this.node.versionGrant, sequence: this.#contents.nextSequence() };
  }

  /** The journal has this entry now, as a new one or joined to the last. `sizeBefore`: before the change. */
  changedBy(position: number, sizeBefore: number): void {
    if (position !== this.#entryPosition) {
      this.#entryPosition = position;
      this.#sizeBeforeEntry = sizeBefore;
    }
    if (this.size < sizeBefore) this.#shrunk.push({ position, size: sizeBefore });
  }

  /**
   * Blocks of chunks are not written. Told once; not by who has single chunks of the file only: for those the attributes stand
   * still.
   */
  markHoles(): void {
    const { node, inode } = this;
    if (node.file !== undefined || node.record.attributes.hasHoles) return;
    this.#contents.execute(node, { kind: "markHoles", inode }, undefined);
  }

  /**
   * The journal entry that has to be committed before bytes from `offset` on may change on the stores, when the change
   * belongs to the entry at `position`, the last one, which was told to `changedBy`. See Dirt.after.
   */
  afterOf(view: ChunkView, offset: number, position: number): number {
    if (view.mappedAt === position || offset >= this.#visibleEnd()) return 0;
    return Math.max((this.node.file ?? this.node).dependsOn, this.#contents.journal.directoryPosition);
  }

  /** Bytes from here on can't be seen in any state that the leader has had before the last entry of the journal. */
  #visibleEnd(): number {
    const { committedPosition } = this.#contents.journal;
    if (this.#shrunk.length > 0) this.#shrunk = this.#shrunk.filter(({ position }) => position > committedPosition);
    return this.#shrunk.reduce((end, { size }) => Math.max(end, size), this.#sizeBeforeEntry);
  }

  /** A write is in: what is worth a request goes out. */
  written(): void {
    const { budget, writeBack } = this.#contents;
    this.#dirty?.placed();
    if (budget.isPressed) writeBack.press();
    else if (this.#dirty !== undefined && this.#dirty.freeBytes >= streamBytes) this.#dirty.flush(this.mark);
  }

  #addView(index: number, chunk: number, known: ConstructorParameters<typeof ChunkView>[4]): ChunkView {
    const view = new ChunkView(this, index, chunk, this.#contents.cache, known);
    this.#setView(view);
    return view;
  }

  #setView(view: ChunkView): void {
    this.#views ??= new Map();
    this.#views.set(view.index, view);
  }

  #forget(): void {
    this.#isDropped = true;
    this.#loads?.outdateAll();
    for (const view of [...(this.#views?.values() ?? [])]) view.drop(0, Number.POSITIVE_INFINITY);
    this.#views = undefined;
  }
}
