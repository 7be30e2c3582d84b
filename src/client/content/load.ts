/**
 * Blocks that are being read from the stores, for a reader or ahead of one. What arrives is the chunk's content at a moment
 * after the load began. So a write there meanwhile makes it outdated: whoever comes later must not use it, and it does not
 * get into the cache. (A reader that found it before has the bytes locked, and takes them.)
 */
import { blockBytes } from "../../namespace/model.ts";
import { responsePayloads } from "../../wire/payload-pool.ts";
import type { Operation } from "../waits.ts";
import { Slab, type SlabOwner, type Span } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import { joinPieces } from "./pieces.ts";

export class Load {
  readonly view: ChunkView;
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  /** What it brings. */
  readonly span: Promise<Span>;
  isOutdated = false;
  #takers = 0;

  constructor(view: ChunkView, from: number, to: number, span: Promise<Span>) {
    this.view = view;
    this.from = from;
    this.to = to;
    this.span = span;
  }

  /** What it brings, with the slab retained for the caller. */
  take(): Promise<Span> {
    this.#takers += 1;
    return this.span;
  }

  /** It is there: before those hear of it who take it. */
  retainForTakers(slab: Slab): void {
    for (let count = this.#takers; count > 0; count--) slab.retain();
  }
}

const receivedMemory: SlabOwner = { takeBack: (memory) => responsePayloads.giveBack(memory) };

/** Whose memory the bytes are in: that of the connections, if it can be used again. */
function received(bytes: Buffer): SlabOwner | undefined {
  return responsePayloads.fits(bytes) ? receivedMemory : undefined;
}

/** The loads of one file. They are few, so a list. */
export class Loads {
  readonly #contents: Contents;
  #loads: Load[] = [];

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /** One that brings this block. */
  with(view: ChunkView, block: number): Load | undefined {
    return this.#loads.find(
      (load) => !load.isOutdated && load.view.chunk === view.chunk && load.from <= block && block < load.to,
    );
  }

  /**
   * Reads blocks [from, to) of a chunk that is on the stores.
   * @param endByte where the file ends in the chunk when they have arrived: what lies behind it is made zeros
   */
  start(view: ChunkView, from: number, to: number, endByte: () => number, operation: Operation): Load {
    const { blockReader, cache } = this.#contents;
    const bytes = (to - from) * blockBytes;
    cache.loading(bytes);
    const span = blockReader.read(view.chunk, from, to - from, operation).then((pieces) => {
      const first = pieces[0]!;
      const whole = pieces.length === 1 && Buffer.isBuffer(first) ? first : joinPieces(pieces);
      const end = endByte() - from * blockBytes;
      if (end < bytes) whole.fill(0, Math.max(0, end));
      return { bytes: whole, slab: new Slab(whole, received(whole)) };
    });
    const load = new Load(view, from, to, span);
    this.#loads.push(load);
    span.then(
      (brought) => {
        const { slab } = brought;
        slab.retain();
        load.retainForTakers(slab);
        this.#end(load, bytes);
        if (!load.isOutdated && view.content.keepsView(view)) view.fill(from, brought);
        slab.release();
        cache.trim();
      },
      () => this.#end(load, bytes),
    );
    return load;
  }

  /** Blocks [from, to) of the chunk are changing. */
  outdate(view: ChunkView, from: number, to: number): void {
    const { chunk } = view;
    for (const load of this.#loads) {
      if (load.view.chunk === chunk && load.from < to && from < load.to) load.isOutdated = true;
    }
  }

  outdateAll(): void {
    for (const load of this.#loads) load.isOutdated = true;
  }

  #end(load: Load, bytes: number): void {
    this.#contents.cache.loaded(bytes);
    const at = this.#loads.indexOf(load);
    if (at >= 0) this.#loads.splice(at, 1);
  }
}
