/**
 * Memory for the payloads of large requests, used again when a handler says that it is finished with them. Allocating a
 * mebibyte for each write and collecting it cost a store a quarter of its time.
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
  #freeBytes = 0;

  /** Any bytes, as many as asked for. */
  take(byteCount: number): Buffer {
    if (byteCount < pooledBytesMin || byteCount > pooledBytesMax) return Buffer.allocUnsafeSlow(byteCount);
    const size = 2 ** Math.ceil(Math.log2(byteCount));
    const memory = this.#free.get(size)?.pop();
    if (memory === undefined) return Buffer.allocUnsafeSlow(size).subarray(0, byteCount);
    this.#freeBytes -= size;
    return Buffer.from(memory, 0, byteCount);
  }

  /** Nobody has a view of the payload any more, but those of smaller and other payloads are left alone. */
  giveBack({ buffer, byteOffset, byteLength }: Uint8Array): void {
    const size = buffer.byteLength;
    const isPooled = byteOffset === 0 && byteLength >= pooledBytesMin && Number.isInteger(Math.log2(size));
    if (!isPooled || size > pooledBytesMax || this.#freeBytes + size > freeBytesMax) return;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
    this.#freeBytes += size;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }
}

/** Of all connections of this process. */
export const requestPayloads = new PayloadPool();
