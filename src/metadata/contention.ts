/**
 * Files that clients take from each other to write to them. Once is a handover: who comes gets the file whole. The second
 * time within a second it is *contested*, and for as long as it goes on like that the exclusive lease is not given for
 * writes, but the split one.
 */

/** Nobody has come for so long: it is over. */
const overMs = 1_000;
/** Bounds the memory; one that is forgotten is found out again. */
const filesMax = 4_096;

export class Contention {
  readonly #nowMs: () => number;
  readonly #files = new Map<number, { atMs: number; isContested: boolean }>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Somebody wants to write what another has to himself. */
  taking(inode: number): void {
    const known = this.#recent(inode);
    this.#files.delete(inode);
    if (this.#files.size >= filesMax) this.#files.delete(this.#files.keys().next().value!);
    this.#files.set(inode, { atMs: this.#nowMs(), isContested: known !== undefined });
  }

  /** Several work on it right now. */
  goesOn(inode: number): void {
    const known = this.#files.get(inode);
    if (known !== undefined) known.atMs = this.#nowMs();
  }

  isContested(inode: number): boolean {
    return this.#recent(inode)?.isContested === true;
  }

  #recent(inode: number): { atMs: number; isContested: boolean } | undefined {
    const known = this.#files.get(inode);
    return known !== undefined && this.#nowMs() - known.atMs < overMs ? known : undefined;
  }
}
