/**
 * Recalls on their way to clients: all that one turn of the event loop brings for a client go in one message. They leave
 * at the end of the turn, without waiting for anything. A recall may be lost with its connection: whoever wants the lease
 * sends it again (leases.ts).
 */
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import type { Lifetime } from "./lifetime.ts";

/** Leases in one message: the bound of the catalogue. */
const recalledMax = 16_384;

export interface RecalledLease {
  readonly inode: number;
  readonly grant: number;
  readonly wanted: LeaseMode;
}

export interface RecallMessage {
  readonly leases: RecalledLease[];
  /** Grants of space are to be given back, too. */
  readonly space: boolean;
}

export class Recalls {
  readonly #lifetime: Lifetime;
  readonly #send: (session: number, message: RecallMessage) => void;
  #leases = new Map<number, RecalledLease[]>();
  #space = new Set<number>();
  #isPlanned = false;

  /** @param send to the session's client, if it is connected */
  constructor(lifetime: Lifetime, send: (session: number, message: RecallMessage) => void) {
    this.#lifetime = lifetime;
    this.#send = send;
  }

  lease(session: number, lease: RecalledLease): void {
    const leases = this.#leases.get(session);
    if (leases === undefined) this.#leases.set(session, [lease]);
    else leases.push(lease);
    this.#plan();
  }

  space(session: number): void {
    this.#space.add(session);
    this.#plan();
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.#lifetime.startTimer(0, () => this.#flush());
  }

  #flush(): void {
    this.#isPlanned = false;
    const [leases, space] = [this.#leases, this.#space];
    this.#leases = new Map();
    this.#space = new Set();
    for (const [session, all] of leases) {
      for (let from = 0; from < all.length; from += recalledMax) {
        this.#send(session, { leases: all.slice(from, from + recalledMax), space: space.delete(session) });
      }
    }
    for (const session of space) this.#send(session, { leases: [], space: true });
  }
}
