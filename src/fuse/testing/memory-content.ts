/** The bytes of a sparse file in memory: pieces of 256 KiB, each as long as it has been written so far. */

const pieceBytes = 256 * 1024;
/** First length of a piece; it then doubles. Most files are small. */
const firstBytes = 4096;

export class MemoryContent {
  readonly #pieces = new Map<number, Buffer>();

  /** The `length` bytes from `offset`; holes are zeros. Nothing for a length of 0 or less. */
  read(offset: number, length: number): Uint8Array[] {
    const parts: Uint8Array[] = [];
    for (let at = offset; at < offset + length; ) {
      const start = at % pieceBytes;
      const count = Math.min(pieceBytes - start, offset + length - at);
      const piece = this.#pieces.get((at - start) / pieceBytes);
      const there = piece === undefined ? Buffer.alloc(0) : piece.subarray(start, start + count);
      if (there.length > 0) parts.push(there);
      if (there.length < count) parts.push(Buffer.alloc(count - there.length));
      at += count;
    }
    return parts;
  }

  write(offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.byteLength; ) {
      const at = offset + done;
      const start = at % pieceBytes;
      const count = Math.min(pieceBytes - start, data.byteLength - done);
      this.#piece((at - start) / pieceBytes, start + count).set(data.subarray(done, done + count), start);
      done += count;
    }
  }

  /** Forgets what lies behind `size`: it reads as zeros when the file grows again. */
  truncate(size: number): void {
    for (const [index, piece] of this.#pieces) {
      const start = index * pieceBytes;
      if (start >= size) this.#pieces.delete(index);
      else if (start + piece.length > size) piece.fill(0, size - start);
    }
  }

  /** How many stretches of `unitBytes` (a multiple of 256 KiB) are not a hole. */
  unitCount(unitBytes: number): number {
    if (this.#pieces.size <= 1) return this.#pieces.size;
    return new Set([...this.#pieces.keys()].map((index) => Math.floor((index * pieceBytes) / unitBytes))).size;
  }

  #piece(index: number, lengthBytes: number): Buffer {
    const piece = this.#pieces.get(index);
    if (piece !== undefined && piece.length >= lengthBytes) return piece;
    let length = firstBytes;
    while (length < lengthBytes) length *= 2;
    const grown = Buffer.alloc(length);
    if (piece !== undefined) grown.set(piece);
    this.#pieces.set(index, grown);
    return grown;
  }
}
