/**
 * The simulation's randomness: xoshiro128** (Blackman and Vigna, https://prng.di.unimi.it), seeded through a hash of text,
 * so that every part of a simulation draws from a stream of its own: a part that draws once more leaves the others alone.
 */
import type { Random } from "../platform/random.ts";

export class SimulatedRandom implements Random {
  readonly #seed: string;
  readonly #state = new Uint32Array(4);

  constructor(seed: string) {
    this.#seed = seed;
    // FNV-1a over the text, spread over the state by splitmix32: no state is all zeros for any text.
    let hash = 0x811c9dc5;
    for (let index = 0; index < seed.length; index++) hash = Math.imul(hash ^ seed.charCodeAt(index), 0x01000193);
    for (let index = 0; index < 4; index++) {
      hash = (hash + 0x9e3779b9) | 0;
      let mixed = hash ^ (hash >>> 16);
      mixed = Math.imul(mixed, 0x21f0aaad);
      mixed ^= mixed >>> 15;
      mixed = Math.imul(mixed, 0x735a2d97);
      this.#state[index] = mixed ^ (mixed >>> 15);
    }
  }

  /** A stream of its own, that depends only on this one's seed and `name`. */
  fork(name: string): SimulatedRandom {
    return new SimulatedRandom(`${this.#seed}/${name}`);
  }

  bytes(length: number): Uint8Array {
    const bytes = Buffer.alloc(length);
    for (let index = 0; index < length; index++) bytes[index] = this.#next();
    return bytes;
  }

  below(limit: number): number {
    if (!Number.isInteger(limit) || limit < 1 || limit > 0x1_0000_0000) throw new RangeError(`a number below ${limit}`);
    // The bias of the product is below 2^-20 for the limits that simulations use, and it costs no second draw.
    return Number((BigInt(this.#next()) * BigInt(limit)) >> 32n);
  }

  /** A whole number, least ≤ n ≤ most. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True with this probability (0 to 1). */
  chance(probability: number): boolean {
    return this.#next() < probability * 0x1_0000_0000;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** One of the names, with a probability in proportion to its weight. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const names = Object.keys(weights) as K[];
    let drawn = this.below(names.reduce((sum, name) => sum + weights[name], 0));
    for (const name of names) {
      drawn -= weights[name];
      if (drawn < 0) return name;
    }
    throw new Error("weights are whole numbers, and not all zero");
  }

  #next(): number {
    const state = this.#state;
    const product = Math.imul(state[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = state[1]! << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = (state[3]! << 11) | (state[3]! >>> 21);
    return result;
  }
}
