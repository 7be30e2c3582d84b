/** The way from one host to another: how long it takes, and whether it is cut now. */
import type { SimulatedRandom } from "./simulated-random.ts";

/** One way on a local network: mostly between these, now and then a hiccup. */
const latencyUs = [20, 250] as const;
const hiccupUsMax = 5_000;
const hiccupChance = 0.005;
/** TCP's retransmission timer starts at 200 ms and doubles. */
const retransmitUsMax = 400_000;

export class Link {
  /** Longer than usual by this factor: a congested or far link. */
  slowness = 1;
  readonly #random: SimulatedRandom;
  #cut = false;
  #waiting: (() => void)[] = [];

  readonly #onBytes: (count: number) => void;

  /** `onBytes` is told of everything that sets out. */
  constructor(random: SimulatedRandom, onBytes: (count: number) => void) {
    this.#random = random;
    this.#onBytes = onBytes;
  }

  sent(byteCount: number): void {
    this.#onBytes(byteCount);
  }

  get cut(): boolean {
    return this.#cut;
  }

  latencyUs(): number {
    const hiccup = this.#random.chance(hiccupChance) ? this.#random.below(hiccupUsMax) : 0;
    return (this.#random.between(...latencyUs) + hiccup) * this.slowness;
  }

  retransmitUs(): number {
    return this.#random.below(retransmitUsMax);
  }

  whenHealed(callback: () => void): void {
    this.#waiting.push(callback);
  }

  setCut(cut: boolean): void {
    this.#cut = cut;
    if (!cut) for (const callback of this.#waiting.splice(0)) callback();
  }
}
