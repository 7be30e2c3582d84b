/**
 * Memory for the data of small writes, used again and again: most are finished before the next one comes. Memory that is
 * new for each costs more than the copying, because the kernel clears it first.
 */

/** Data of fewer bytes is copied. From here on it stays in the buffer that it was read into, and the transport takes another. */
export const copyBytesMax = 128 * 1024;

/** 2 MiB in all. What more requests need at the same time is memory of their own. */
const buffersMax = 16;

export class ScratchBuffers {
  readonly #free: Buffer[] = [];
  #made = 0;

  /** One of `copyBytesMax` bytes; undefined if all are in use. */
  take(): Buffer | undefined {
    const buffer = this.#free.pop();
    if (buffer !== undefined || this.#made === buffersMax) return buffer;
    this.#made += 1;
    return Buffer.allocUnsafeSlow(copyBytesMax);
  }

  /** Nobody uses it any more. */
  giveBack(buffer: Buffer): void {
    this.#free.push(buffer);
  }
}
