/**
 * Memory for written data, used again: allocating and collecting it would cost more than the copying. Large writes get pieces
 * of 1 MiB buffers. Small ones get a buffer of their own size, so that a cache of small files is as large as the files are.
 *
 * A slab is used again when nobody refers to it, unless somebody else may have a view of it: then the collector decides.
 */

/** Of the largest FUSE write. */
export const slabBytes = 1024 * 1024;
/** From here on a piece of a slab; below, what a slab's rest would waste is more than what it saves. */
const sharedBytesMin = 128 * 1024;
/** What a stream has under way and what leaves the cache of clean blocks comes back here again and again. */
const freeBytesMax = 32 * 1024 * 1024;

/** Where memory comes from that is used again. */
export interface SlabOwner {
  takeBack(memory: Buffer): void;
}

/** A buffer, or a slab of which several hold pieces. */
export class Slab {
  readonly memory: Buffer;
  readonly #pool: SlabOwner | undefined;
  #references = 0;
  /** Views of it were given away: it is neither changed nor used again. */
  isLent = false;

  /** @param pool undefined: the collector's */
  constructor(memory: Buffer, pool: SlabOwner | undefined) {
    this.memory = memory;
    this.#pool = pool;
  }

  get isPooled(): boolean {
    return this.#pool !== undefined;
  }

  retain(): void {
    this.#references += 1;
  }

  release(): void {
    if (this.#references === 0) throw new Error("a buffer was let go more often than held");
    this.#references -= 1;
    if (this.#references === 0 && !this.isLent) this.#pool?.takeBack(this.memory);
  }
}

/** Bytes that are somebody's alone, and what they are part of. */
export interface Span {
  readonly bytes: Buffer;
  readonly slab: Slab;
}

export class BufferPool {
  /** By size. */
  readonly #free = new Map<number, Buffer[]>();
  #freeBytes = 0;
  #slab: Slab | undefined;
  #used = 0;

  /** Bytes with any content. The slab is retained for the caller, who releases it. */
  allocate(byteCount: number): Span {
    if (byteCount > slabBytes) return this.wrap(Buffer.allocUnsafeSlow(byteCount));
    if (byteCount < sharedBytesMin) {
      const slab = new Slab(this.#memory(byteCount), this);
      slab.retain();
      return { bytes: slab.memory, slab };
    }
    if (this.#slab === undefined || this.#used + byteCount > slabBytes) this.#nextSlab();
    const slab = this.#slab!;
    const bytes = slab.memory.subarray(this.#used, this.#used + byteCount);
    this.#used += byteCount;
    slab.retain();
    return { bytes, slab };
  }

  /** A buffer that was made elsewhere, retained for the caller. */
  wrap(bytes: Buffer): Span {
    const slab = new Slab(bytes, undefined);
    slab.retain();
    return { bytes, slab };
  }

  /** For slabs. */
  takeBack(memory: Buffer): void {
    const bytes = memory.byteLength;
    if (this.#freeBytes + bytes > freeBytesMax) return;
    this.#freeBytes += bytes;
    const free = this.#free.get(bytes);
    if (free === undefined) this.#free.set(bytes, [memory]);
    else free.push(memory);
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  #memory(byteCount: number): Buffer {
    const memory = this.#free.get(byteCount)?.pop();
    if (memory === undefined) return Buffer.allocUnsafeSlow(byteCount);
    this.#freeBytes -= byteCount;
    return memory;
  }

  #nextSlab(): void {
    const before = this.#slab;
    this.#slab = new Slab(this.#memory(slabBytes), this);
    // While pieces can be taken of it, it is ours, too.
    this.#slab.retain();
    this.#used = 0;
    before?.release();
  }
}
