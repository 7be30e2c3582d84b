/**
 * Dirts of one file that nobody has asked for, or that may not go out yet, by the journal entry that they wait for: so that
 * looking for those that may costs nothing for the others, of which there are very many where a file is overwritten.
 */
import type { Dirt } from "./dirt.ts";

export class WaitingDirts {
  /** May go out. */
  readonly #free = new Set<Dirt>();
  /** Wait for an entry to be committed. */
  readonly #held = new Map<number, Set<Dirt>>();
  #freeBytes = 0;

  get isEmpty(): boolean {
    return this.#free.size === 0 && this.#held.size === 0;
  }

  /** The last entry that one of them waits for; 0: they may all go out. */
  heldBy(committedPosition: number): number {
    this.#advance(committedPosition);
    let last = 0;
    for (const after of this.#held.keys()) last = Math.max(last, after);
    return last;
  }

  /** Of those that may go out. */
  freeBytes(committedPosition: number): number {
    this.#advance(committedPosition);
    return this.#freeBytes;
  }

  /** `dirt.after` doesn't change while it is in here; its bytes do only by `shrunk`. */
  add(dirt: Dirt): void {
    if (dirt.after === 0) this.#release(dirt);
    else {
      const held = this.#held.get(dirt.after);
      if (held === undefined) this.#held.set(dirt.after, new Set([dirt]));
      else held.add(dirt);
    }
  }

  /** True if it was in here. */
  delete(dirt: Dirt): boolean {
    if (this.#free.delete(dirt)) {
      this.#freeBytes -= dirt.bytes.byteLength;
      return true;
    }
    const held = this.#held.get(dirt.after);
    if (held?.delete(dirt) !== true) return false;
    if (held.size === 0) this.#held.delete(dirt.after);
    return true;
  }

  /** The dirt has given bytes away. */
  shrunk(dirt: Dirt, bytes: number): void {
    if (this.#free.has(dirt)) this.#freeBytes -= bytes;
  }

  /** Takes those of writes up to `mark` that may go out. */
  take(mark: number, committedPosition: number): Dirt[] {
    this.#advance(committedPosition);
    const taken: Dirt[] = [];
    for (const dirt of this.#free) {
      if (dirt.firstMark > mark) continue;
      this.delete(dirt);
      taken.push(dirt);
    }
    return taken;
  }

  #advance(committedPosition: number): void {
    for (const [after, dirts] of this.#held) {
      if (after > committedPosition) continue;
      this.#held.delete(after);
      for (const dirt of dirts) this.#release(dirt);
    }
  }

  #release(dirt: Dirt): void {
    this.#free.add(dirt);
    this.#freeBytes += dirt.bytes.byteLength;
  }
}
