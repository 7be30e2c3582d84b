/**
 * Where the leader may be. The leader that was met last *names* the servers with metadata, itself and its copy: what leaders before it
 * named is dropped. Servers that don't lead may *hint* at others, until a leader names some. What a person said is kept behind
 * both, as a last resort: those addresses may be other names of the same servers.
 */
import type { Address } from "../platform/network.ts";

/** Addresses that last: a cluster has two servers with metadata; more are other names, and those of servers before. */
export const leadersMax = 8;
/** Of servers that don't lead, the latest: two of them say all there is to know. */
const hintsMax = 4;

export class KnownLeaders {
  readonly #given: readonly Address[];
  readonly #onChange: (addresses: readonly Address[]) => void;
  #named: readonly Address[] = [];
  #hints: readonly Address[] = [];

  /** `onChange`: a leader has named others than before; with those that were given. */
  constructor(given: readonly Address[], onChange: (addresses: readonly Address[]) => void = () => {}) {
    this.#given = given;
    this.#onChange = onChange;
  }

  /** The likeliest ones first; never empty. */
  get addresses(): readonly Address[] {
    return [...new Set([...this.#named, ...this.#hints, ...this.#lasting])];
  }

  /** Without hints. */
  get #lasting(): readonly Address[] {
    return [...new Set([...this.#named, ...this.#given])].slice(0, leadersMax);
  }

  /** What the last leader said; empty: none was met. */
  get byLeader(): readonly Address[] {
    return this.#named;
  }

  /** The leader at `from` says where it and its copy are; `addresses` empty: only there. */
  named(from: Address, addresses: readonly Address[]): void {
    const before = this.#lasting;
    this.#named = addresses.length === 0 ? [from] : [...addresses];
    this.#hints = [];
    const after = this.#lasting;
    if (after.length !== before.length || after.some((address, at) => address !== before[at])) this.#onChange(after);
  }

  /** A server that doesn't lead says who kept the metadata as far as it knows. */
  hinted(addresses: readonly Address[]): void {
    this.#hints = [...new Set([...addresses, ...this.#hints])].slice(0, hintsMax);
  }
}
