/** The bytes of a file of which most were never written: pages in a map. What is not there reads as zeros. */
const pageBytes = 4096;

export class SparseBytes {
  readonly #pages = new Map<number, Uint8Array>();

  write(position: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.byteLength; ) {
      const { page, offset } = split(position + done);
      const count = Math.min(pageBytes - offset, bytes.byteLength - done);
      let target = this.#pages.get(page);
      if (target === undefined) {
        target = new Uint8Array(pageBytes);
        this.#pages.set(page, target);
      }
      target.set(bytes.subarray(done, done + count), offset);
      done += count;
    }
  }

  zero(position: number, length: number): void {
    const end = position + length;
    if (length > this.#pages.size * pageBytes) {
      // Fewer pages are there than lie in the range.
      for (const page of [...this.#pages.keys()]) this.#zeroInPage(page, position, end);
      return;
    }
    for (let page = split(position).page; page * pageBytes < end; page++) this.#zeroInPage(page, position, end);
  }

  read(buffer: Uint8Array, position: number): void {
    for (let done = 0; done < buffer.byteLength; ) {
      const { page, offset } = split(position + done);
      const count = Math.min(pageBytes - offset, buffer.byteLength - done);
      const source = this.#pages.get(page);
      if (source === undefined) buffer.fill(0, done, done + count);
      else buffer.set(source.subarray(offset, offset + count), done);
      done += count;
    }
  }

  becomeCopyOf(other: SparseBytes): void {
    this.#pages.clear();
    for (const [page, bytes] of other.#pages) this.#pages.set(page, Uint8Array.from(bytes));
  }

  /** Flips bits of one byte that was written. */
  flip(position: number, bits: number): void {
    const { page, offset } = split(position);
    const target = this.#pages.get(page);
    if (target !== undefined) target[offset]! ^= bits;
  }

  #zeroInPage(page: number, position: number, end: number): void {
    const start = page * pageBytes;
    const from = Math.max(position, start) - start;
    const to = Math.min(end, start + pageBytes) - start;
    if (from >= to) return;
    if (to - from === pageBytes) this.#pages.delete(page);
    else this.#pages.get(page)?.fill(0, from, to);
  }
}

function split(position: number): { page: number; offset: number } {
  const page = Math.floor(position / pageBytes);
  return { page, offset: position - page * pageBytes };
}
