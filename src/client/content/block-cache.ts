/**
 * Clean blocks of all files: bounded, those that were not used for longest go first. What is being read from the stores
 * counts as soon as it is asked for.
 */
import type { Piece } from "./chunk-view.ts";

/** Of the cache, when it is full. */
const droppedFraction = 1 / 32;

export class BlockCache {
  readonly bytesMax: number;
  /** In the order of their last use. */
  readonly #pieces = new Set<Piece>();
  #bytes = 0;
  #loadingBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes + this.#loadingBytes;
  }

  get loadingBytes(): number {
    return this.#loadingBytes;
  }

  /** Nothing is dropped by it: the caller may be changing the very pieces. See `trim`. */
  add(piece: Piece): void {
    this.#pieces.add(piece);
    this.#bytes += piece.bytes.byteLength;
  }

  remove(piece: Piece): void {
    if (this.#pieces.delete(piece)) this.#bytes -= piece.bytes.byteLength;
  }

  used(piece: Piece): void {
    this.#pieces.delete(piece);
    this.#pieces.add(piece);
  }

  loading(byteCount: number): void {
    this.#loadingBytes += byteCount;
  }

  loaded(byteCount: number): void {
    this.#loadingBytes -= byteCount;
  }

  /** Drops what is too much; many at once, because a Set's iterator walks over all that was deleted at its front before. */
  trim(): void {
    if (this.bytes <= this.bytesMax) return;
    const bytesKept = this.bytesMax * (1 - droppedFraction);
    for (const piece of this.#pieces) {
      if (this.bytes <= bytesKept) return;
      this.drop(piece);
    }
  }

  /** Nobody is going to need it soon. */
  drop(piece: Piece): void {
    this.remove(piece);
    piece.view.evict(piece);
  }
}
