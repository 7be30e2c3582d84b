/**
 * Locks on byte ranges of one file, within this client: many readers or one writer of each byte, in the order of
 * arrival. A request waits for every conflicting one before it, held or waiting: so nobody starves, and what arrived
 * before an fsync is finished before it.
 *
 * The tables are short (the kernel has at most some dozens of requests for a file under way), so they are plain lists.
 */

import type { Soon } from "../soon.ts";

/** Beyond every offset: a range up to here covers the rest of the file. */
export const endOfRange = Number.MAX_SAFE_INTEGER;

interface Claim {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  readonly exclusive: boolean;
  /** Undefined once it is granted. */
  grant: (() => void) | undefined;
}

export class RangeLock {
  /** Held and waiting, in the order of arrival. */
  #claims: Claim[] = [];

  /** The function that gives the range [from, to) back, as soon as it is free. */
  lock(from: number, to: number, exclusive: boolean): Soon<() => void> {
    const claim: Claim = { from, to, exclusive, grant: undefined };
    const blocked = this.#claims.some((other) => conflicts(claim, other));
    this.#claims.push(claim);
    const release = () => this.#release(claim);
    if (!blocked) return release;
    return new Promise((resolve) => {
      claim.grant = () => resolve(release);
    });
  }

  get idle(): boolean {
    return this.#claims.length === 0;
  }

  #release(claim: Claim): void {
    const at = this.#claims.indexOf(claim);
    if (at < 0) throw new Error("a range was given back twice");
    this.#claims.splice(at, 1);
    for (let index = at; index < this.#claims.length; index++) {
      const waiting = this.#claims[index]!;
      if (waiting.grant === undefined || !conflicts(waiting, claim)) continue;
      if (this.#isBlocked(waiting, index)) continue;
      const grant = waiting.grant;
      waiting.grant = undefined;
      grant();
    }
  }

  #isBlocked(claim: Claim, index: number): boolean {
    for (let before = 0; before < index; before++) if (conflicts(claim, this.#claims[before]!)) return true;
    return false;
  }
}

function conflicts(left: Claim, right: Claim): boolean {
  return (left.exclusive || right.exclusive) && left.from < right.to && right.from < left.to;
}
