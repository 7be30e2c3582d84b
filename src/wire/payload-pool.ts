/**
 * Memory for large payloads, used again when whoever has received one says that he is finished with it. Allocating a
 * mebibyte for each write and collecting it cost a store a quarter of its time, and a client that reads about the same.
 *
 * A payload that is never given back is simply collected.
 */

const kibibyte = 1024;
/** Below, allocating is cheap. */
const pooledBytesMin = 64 * kibibyte;
/** The largest payload. */
const pooledBytesMax = 4 * kibibyte * kibibyte;
/** What waits to be used again: several clients' writes at a time. */
const freeBytesMax = 32 * kibibyte * kibibyte;

export class PayloadPool {
  /** Free buffers by size, a power of two. */
  readonly #free = new Map<number, ArrayBufferLike[]>();
  readonly #isExact: boolean;
  #freeBytes = 0;

  /** @param isExact for what is kept for long: no memory is larger than its payload, others than powers of two aren't pooled */
  constructor(isExact = false) {
    this.#isExact = isExact;
  }

  /** Any bytes, as many as asked for. */
  take(byteCount: number): Buffer {
    if (byteCount < pooledBytesMin || byteCount > pooledBytesMax) return Buffer.allocUnsafeSlow(byteCount);
    const size = 2 ** Math.ceil(Math.log2(byteCount));
    if (this.#isExact && size !== byteCount) return Buffer.allocUnsafeSlow(byteCount);
    const memory = this.#free.get(size)?.pop();
    if (memory === undefined) return Buffer.allocUnsafeSlow(size).subarray(0, byteCount);
    this.#freeBytes -= size;
    return Buffer.from(memory, 0, byteCount);
  }

  /** Nobody has a view of the payload any more, but those of smaller and other payloads are left alone. */
  giveBack(payload: Uint8Array): void {
    const { buffer } = payload;
    const size = buffer.byteLength;
    if (!this.fits(payload) || this.#freeBytes + size > freeBytesMax) return;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
    this.#freeBytes += size;
  }

  /** It can be used again: it is a whole buffer of a size that is pooled, or its beginning. */
  fits({ buffer, byteOffset, byteLength }: Uint8Array): boolean {
    const size = buffer.byteLength;
    if (byteOffset !== 0 || byteLength < pooledBytesMin || size > pooledBytesMax) return false;
    return Number.isInteger(Math.log2(size)) && (!this.#isExact || byteLength === size);
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }
}

/** Of all connections of this process. */
export const requestPayloads = new PayloadPool();
export const responsePayloads = new PayloadPool(true);
