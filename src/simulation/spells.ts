/** Times in which something is so at one place or at several: they overlap. */
export class Spells {
  #lasting = 0;
  #endedUs = Number.NEGATIVE_INFINITY;

  /** The last moment at which it was so: infinity while it is. */
  get lastUs(): number {
    return this.#lasting > 0 ? Number.POSITIVE_INFINITY : this.#endedUs;
  }

  begin(): void {
    this.#lasting += 1;
  }

  end(nowUs: number): void {
    this.#lasting -= 1;
    this.#endedUs = nowUs;
  }
}
