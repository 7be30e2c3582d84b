/**
 * Where the leader may be. The leader that was met last *names* the servers with metadata, itself and its copy. Servers that don't
 * lead may *hint* at others, until a leader names some. Behind both, as a last resort, there is what a person said (those addresses may
 * be other names of the same servers), what leaders before the last one named, and other servers of the cluster: whoever was
 * away while leader and copy were replaced finds the new ones through any server that is still there.
 */
import type { Address } from "../platform/network.ts";

/** Addresses that last: a cluster has two servers with metadata; more are other names, and those of servers before. */
export const leadersMax = 8;
/** Of servers that don't lead, the latest: two of them say all there is to know. */
const hintsMax = 4;
/** Of servers that leaders named before, the latest; and of servers without metadata. */
const earlierMax = 4;
const othersMax = 4;

export class KnownLeaders {
  readonly #given: readonly Address[];
  readonly #onChange: (addresses: readonly Address[]) => void;
  #named: readonly Address[] = [];
  #hints: readonly Address[] = [];
  #earlier: readonly Address[] = [];
  readonly #others: () => readonly Address[];

  /**
   * `onChange`: a leader has named others than before; with those that were given.
   * `others`: servers of the cluster that are known without metadata.
   */
  constructor(
    given: readonly Address[],
    onChange: (addresses: readonly Address[]) => void = () => {},
    others: () => readonly Address[] = () => [],
  ) {
    this.#given = given;
    this.#onChange = onChange;
    this.#others = others;
  }

  /** The likeliest ones first; never empty. */
  get addresses(): readonly Address[] {
    const others = this.#others().slice(0, othersMax);
    return [...new Set([...this.#named, ...this.#hints, ...this.#lasting, ...this.#earlier, ...others])];
  }

  /** What is worth to be written down. */
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
    const namedBefore = this.#named;
    this.#named = addresses.length === 0 ? [from] : [...addresses];
    this.#hints = [];
    const earlier = [...new Set([...namedBefore, ...this.#earlier])];
    this.#earlier = earlier.filter((address) => !this.#named.includes(address)).slice(0, earlierMax);
    const after = this.#lasting;
    if (after.length !== before.length || after.some((address, at) => address !== before[at])) this.#onChange(after);
  }

  /** A server that doesn't lead says who kept the metadata as far as it knows. */
  hinted(addresses: readonly Address[]): void {
    this.#hints = [...new Set([...addresses, ...this.#hints])].slice(0, hintsMax);
  }
}
