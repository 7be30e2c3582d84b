/**
 * An ordered map from byte strings (one character a byte) to values, for many small changes between short scans.
 *
 *     #values   Map: key → value                                  (point reads)
 *     #blocks   [ [a, b, c], [f, g], [k, m, n, p] ]                (order: sorted keys in sorted blocks)
 *
 * A new key is spliced into its block, found by binary search; a block that has grown to `blockKeysMax` is halved.
 * Nothing is ever sorted as a whole, so a scan between two changes costs a binary search and the entries it returns.
 */

/** Splicing this many pointers is one short memmove; a million keys are then about 3,000 blocks. */
const blockKeysMax = 512;

export class OrderedMap<V> {
  readonly #values = new Map<string, V>();
  #blocks: string[][] = [];

  get size(): number {
    return this.#values.size;
  }

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  set(key: string, value: V): void {
    const sizeBefore = this.#values.size;
    this.#values.set(key, value);
    if (this.#values.size !== sizeBefore) this.#insert(key);
  }

  delete(key: string): boolean {
    if (!this.#values.delete(key)) return false;
    const blockIndex = this.#blockOf(key);
    const block = this.#blocks[blockIndex]!;
    block.splice(lowerBound(block, key), 1);
    if (block.length === 0) this.#blocks.splice(blockIndex, 1);
    return true;
  }

  clear(): void {
    this.#values.clear();
    this.#blocks = [];
  }

  /** Entries in no particular order. */
  entries(): IterableIterator<[string, V]> {
    return this.#values.entries();
  }

  /** Keys with from ≤ key < to, in order. The map must not change meanwhile. */
  *keysUp(from: string, to: string): Generator<string> {
    if (this.#blocks.length === 0) return;
    let blockIndex = this.#blockOf(from);
    let index = lowerBound(this.#blocks[blockIndex]!, from);
    for (; blockIndex < this.#blocks.length; blockIndex++, index = 0) {
      const block = this.#blocks[blockIndex]!;
      for (; index < block.length; index++) {
        const key = block[index]!;
        if (key >= to) return;
        yield key;
      }
    }
  }

  /** Keys with from ≤ key < to, from the last one down. The map must not change meanwhile. */
  *keysDown(from: string, to: string): Generator<string> {
    if (this.#blocks.length === 0) return;
    let blockIndex = this.#blockOf(to);
    let index = lowerBound(this.#blocks[blockIndex]!, to) - 1;
    for (;;) {
      const block = this.#blocks[blockIndex]!;
      for (; index >= 0; index--) {
        const key = block[index]!;
        if (key < from) return;
        yield key;
      }
      blockIndex -= 1;
      if (blockIndex < 0) return;
      index = this.#blocks[blockIndex]!.length - 1;
    }
  }

  #insert(key: string): void {
    if (this.#blocks.length === 0) {
      this.#blocks.push([key]);
      return;
    }
    const blockIndex = this.#blockOf(key);
    const block = this.#blocks[blockIndex]!;
    block.splice(lowerBound(block, key), 0, key);
    if (block.length < blockKeysMax) return;
    // Keys often come in order: a full last block stays nearly full, so that blocks do not end up half empty.
    const isLast = blockIndex === this.#blocks.length - 1;
    this.#blocks.splice(blockIndex + 1, 0, block.splice(isLast ? blockKeysMax - 32 : blockKeysMax / 2));
  }

  /** Index of the block that has `key` or would get it: the last one that does not begin above it. */
  #blockOf(key: string): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#blocks[middle]![0]! <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Index of the first key that is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
