/**
 * What this client has of one chunk of a file, as reads see it: pieces of whole blocks, sorted, without overlaps. A piece is
 * dirty (the stores don't have it yet) or clean (they have the same, and it may be dropped).
 */
import { blockBytes } from "../../namespace/model.ts";
import type { BlockCache } from "./block-cache.ts";
import type { Slab, Span } from "./buffer-pool.ts";
import type { Dirt } from "./dirt.ts";
import type { FileContent } from "./file-content.ts";

export class Piece {
  readonly view: ChunkView;
  readonly first: number;
  readonly bytes: Buffer;
  readonly slab: Slab;
  /** Undefined: clean. */
  dirt: Dirt | undefined;

  constructor(view: ChunkView, first: number, bytes: Buffer, slab: Slab, dirt: Dirt | undefined) {
    this.view = view;
    this.first = first;
    this.bytes = bytes;
    this.slab = slab;
    this.dirt = dirt;
    slab.retain();
  }

  get end(): number {
    return this.first + this.bytes.byteLength / blockBytes;
  }

  part(from: number, to: number): Piece {
    const bytes = this.bytes.subarray((from - this.first) * blockBytes, (to - this.first) * blockBytes);
    return new Piece(this.view, from, bytes, this.slab, this.dirt);
  }
}

export class ChunkView {
  readonly content: FileContent;
  readonly index: number;
  readonly chunk: number;
  readonly #cache: BlockCache;
  #pieces: Piece[] = [];
  /** The journal entry that maps the chunk; 0: it was mapped when we got the lease. */
  mappedAt: number;
  /** A write or clone of it has reached the stores. Before, what isn't here is a hole. */
  isStored: boolean;
  /** What lies behind the end of the file is known to be zeros: nobody has ever written there. */
  isZeroBehindEnd: boolean;

  constructor(
    content: FileContent,
    index: number,
    chunk: number,
    cache: BlockCache,
    known: { mappedAt: number; isStored: boolean; isZeroBehindEnd: boolean },
  ) {
    this.content = content;
    this.index = index;
    this.chunk = chunk;
    this.#cache = cache;
    this.mappedAt = known.mappedAt;
    this.isStored = known.isStored;
    this.isZeroBehindEnd = known.isZeroBehindEnd;
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  /** Pieces with blocks in [from, to), in order; they may reach beyond. */
  between(from: number, to: number): Piece[] {
    const start = this.#indexOf(from);
    let stop = start;
    while (stop < this.#pieces.length && this.#pieces[stop]!.first < to) stop += 1;
    return this.#pieces.slice(start, stop);
  }

  /** The piece with this block. */
  at(block: number): Piece | undefined {
    const piece = this.#pieces[this.#indexOf(block)];
    return piece !== undefined && piece.first <= block ? piece : undefined;
  }

  /** Lays blocks over what is there. The piece holds the slab for itself. */
  lay(first: number, { bytes, slab }: Span, dirt: Dirt | undefined): void {
    this.#exchange(first, first + bytes.byteLength / blockBytes, new Piece(this, first, bytes, slab, dirt));
  }

  /** Forgets what is there of [from, to). */
  drop(from: number, to: number): void {
    this.#exchange(from, to, undefined);
  }

  /** Blocks [from, to) are not part of the file any more; what is dirty of them goes out, for the entries before. */
  cut(from: number, to: number): void {
    for (const { dirt } of this.between(from, to)) if (dirt !== undefined) dirt.isCurrent = false;
    this.drop(from, to);
  }

  /** Takes over clean blocks where there is nothing. */
  fill(first: number, { bytes, slab }: Span): void {
    const end = first + bytes.byteLength / blockBytes;
    let next = first;
    for (const piece of [...this.between(first, end), undefined]) {
      const stop = Math.min(piece?.first ?? end, end);
      if (stop > next) {
        const view = bytes.subarray((next - first) * blockBytes, (stop - first) * blockBytes);
        this.lay(next, { bytes: view, slab }, undefined);
      }
      next = Math.max(next, piece?.end ?? end);
    }
  }

  /** What of [from, to) is not here. */
  gaps(from: number, to: number): { from: number; to: number }[] {
    const gaps: { from: number; to: number }[] = [];
    let next = from;
    for (let at = this.#indexOf(from); next < to; at++) {
      const piece = this.#pieces[at];
      const stop = Math.min(piece?.first ?? to, to);
      if (stop > next) gaps.push({ from: next, to: stop });
      next = Math.max(next, piece?.end ?? to);
    }
    return gaps;
  }

  /** The stores have the blocks of `dirt` now: what reads still see of it is clean. */
  cleaned(dirt: Dirt): void {
    for (const piece of this.between(dirt.first, dirt.end)) {
      if (piece.dirt !== dirt) continue;
      piece.dirt = undefined;
      this.#cache.add(piece);
    }
  }

  /** For the cache: it needs the memory. */
  evict(piece: Piece): void {
    const at = this.#indexOf(piece.first);
    if (this.#pieces[at] !== piece) throw new Error("a piece that is not here is to be dropped");
    this.#pieces.splice(at, 1);
    piece.slab.release();
    if (this.#pieces.length === 0) this.content.forgetView(this);
  }

  /** Index of the first piece that ends behind `block`. */
  #indexOf(block: number): number {
    const last = this.#pieces.at(-1);
    if (last === undefined || last.end <= block) return this.#pieces.length;
    let low = 0;
    let high = this.#pieces.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#pieces[middle]!.end > block) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #exchange(from: number, to: number, laid: Piece | undefined): void {
    const start = this.#indexOf(from);
    const exchanged: Piece[] = [];
    let stop = start;
    let right: Piece | undefined;
    for (; stop < this.#pieces.length && this.#pieces[stop]!.first < to; stop++) {
      const present = this.#pieces[stop]!;
      if (present.first < from) exchanged.push(present.part(present.first, from));
      if (present.end > to) right = present.part(to, present.end);
      if (present.dirt === undefined) this.#cache.remove(present);
      present.slab.release();
    }
    if (laid !== undefined) exchanged.push(laid);
    if (right !== undefined) exchanged.push(right);
    if (start === this.#pieces.length) this.#pieces.push(...exchanged);
    else this.#pieces.splice(start, stop - start, ...exchanged);
    for (const piece of exchanged) if (piece.dirt === undefined) this.#cache.add(piece);
  }
}
