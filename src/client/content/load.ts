/**
 * Blocks that are being read from the stores, for a reader or ahead of one. What arrives is the chunk's content at a moment
 * after the load began. So a write there meanwhile makes it outdated: whoever comes later must not use it, and it does not
 * get into the cache. (A reader that found it before has the bytes locked, and takes them.)
 */
import { blockBytes } from "../../namespace/model.ts";
import type { Operation } from "../waits.ts";
import { Slab } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import { joinPieces } from "./pieces.ts";

export class Load {
  readonly view: ChunkView;
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  readonly data: Promise<Buffer>;
  isOutdated = false;

  constructor(view: ChunkView, from: number, to: number, data: Promise<Buffer>) {
    this.view = view;
    this.from = from;
    this.to = to;
    this.data = data;
  }
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
    const data = blockReader.read(view.chunk, from, to - from, operation).then((pieces) => {
      const first = pieces[0]!;
      const whole = pieces.length === 1 && Buffer.isBuffer(first) ? first : joinPieces(pieces);
      const end = endByte() - from * blockBytes;
      if (end < bytes) whole.fill(0, Math.max(0, end));
      return whole;
    });
    const load = new Load(view, from, to, data);
    this.#loads.push(load);
    data.then(
      (whole) => {
        this.#end(load, bytes);
        if (load.isOutdated || !view.content.keepsView(view)) return;
        view.fill(from, { bytes: whole, slab: new Slab(whole, undefined) });
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
