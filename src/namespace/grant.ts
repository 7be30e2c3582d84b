/**
 * Numbers that a session was granted: [first, first + count), each used at most once. A bitmap remembers the used ones,
 * so it is known exactly what a session that ends never used, and a number can't come a second time.
 */
import { encode } from "../codec/schema.ts";
import type { Range } from "./model.ts";
import { decodeRow, grantRow } from "./rows.ts";

export class Grant {
  readonly first: number;
  readonly count: number;
  readonly #used: Uint8Array;
  #unusedCount: number;

  constructor(first: number, count: number, used: Uint8Array = new Uint8Array(Math.ceil(count / 8))) {
    this.first = first;
    this.count = count;
    this.#used = used;
    this.#unusedCount = count;
    for (let number = first; number < first + count; number++) if (this.#isUsed(number)) this.#unusedCount -= 1;
  }

  static decode(row: Uint8Array, key: Uint8Array): Grant {
    const { first, count, used } = decodeRow(grantRow, row, key);
    return new Grant(first, count, used);
  }

  encode(): Buffer {
    return encode(grantRow, { first: this.first, count: this.count, used: this.#used });
  }

  get range(): Range {
    return { first: this.first, count: this.count };
  }

  get unusedCount(): number {
    return this.#unusedCount;
  }

  covers(number: number): boolean {
    return number >= this.first && number < this.first + this.count;
  }

  /** True if the number is of this grant and was not used yet. */
  has(number: number): boolean {
    return this.covers(number) && !this.#isUsed(number);
  }

  use(number: number): void {
    if (!this.has(number)) throw new Error(`number ${number} is not to be had from the grant at ${this.first}`);
    const offset = number - this.first;
    this.#used[offset >>> 3]! |= 1 << (offset & 7);
    this.#unusedCount -= 1;
  }

  /** Unused numbers above `after`, in order, at most `limit`. */
  unused(after: number, limit: number): number[] {
    const numbers: number[] = [];
    for (let number = Math.max(this.first, after + 1); number < this.first + this.count; number++) {
      if (numbers.length >= limit) break;
      if (!this.#isUsed(number)) numbers.push(number);
    }
    return numbers;
  }

  #isUsed(number: number): boolean {
    const offset = number - this.first;
    return (this.#used[offset >>> 3]! & (1 << (offset & 7))) !== 0;
  }
}
