/** Where the leader may be: what a person said, and what leaders have told since. One after the other is tried. */
import type { Address } from "../platform/network.ts";

/** Servers with metadata that are remembered: a cluster has two; more are addresses that have changed. */
export const leadersMax = 8;

export class KnownLeaders {
  readonly #onChange: (addresses: readonly Address[]) => void;
  #addresses: readonly Address[];

  constructor(addresses: readonly Address[], onChange: (addresses: readonly Address[]) => void = () => {}) {
    this.#addresses = [...addresses];
    this.#onChange = onChange;
  }

  get addresses(): readonly Address[] {
    return this.#addresses;
  }

  /** The one to try in this round. */
  inRound(round: number): Address {
    return this.#addresses[round % this.#addresses.length]!;
  }

  /** True if with this round all have been tried. */
  endsWith(round: number): boolean {
    return (round + 1) % this.#addresses.length === 0;
  }

  /** A leader says where it or its copy are. */
  learn(addresses: readonly Address[]): void {
    const added = addresses.filter((address) => !this.#addresses.includes(address));
    if (added.length === 0) return;
    this.#addresses = [...this.#addresses, ...added].slice(-leadersMax);
    this.#onChange(this.#addresses);
  }
}
