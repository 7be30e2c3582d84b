/**
 * Asks every client and store that is connected, at once, and waits no longer than a person likes to. Who doesn't answer is
 * named: a process that is paused or overloaded is often what everybody waits for.
 */
import { messageOf } from "../../errors/message.ts";
import type { Method } from "../../wire/method.ts";
import type { Peer } from "../../wire/peer.ts";
import type { Leader } from "../leader.ts";
import type { Sessions } from "../sessions.ts";
import type { Stores } from "../stores.ts";

const answerTimeoutMs = 1_000;
/** Asked at a time: with thousands of clients the others must not be kept waiting by their answers. */
const askedAtOnce = 64;
/** Named in an answer to an administrator. */
const silentMax = 1024;

/** Of the reason why there is no answer. */
const reasonLengthMax = 150;

/** A connected process. */
export interface Asked {
  readonly role: "client" | "store";
  /** For people: host, process and directory, or the store's number and address. */
  readonly who: string;
  /** Of a client; 0 for a store. */
  readonly session: number;
  /** Of a client. */
  readonly volume: number;
  /** Of a store; 0 for a client. */
  readonly store: number;
  /** Of a store. */
  readonly serverId: string;
  readonly peer: Peer | undefined;
}

export interface Answers<R> {
  readonly answers: readonly { readonly from: Asked; readonly body: R }[];
  /** Who did not answer, and why. */
  readonly silent: string[];
}

export interface AskingParts {
  readonly leader: Leader;
  readonly sessions: Sessions;
  readonly stores: Stores;
}

export class Asking {
  readonly #parts: AskingParts;

  constructor(parts: AskingParts) {
    this.#parts = parts;
  }

  clients(): Asked[] {
    return this.#parts.sessions.all().map(({ id, host, volume, peer }) => {
      return { role: "client", who: host, session: id, volume, store: 0, serverId: "", peer };
    });
  }

  stores(): Asked[] {
    return this.#parts.stores.all().map(({ store, address, serverId, peer }) => {
      return { role: "store", who: storeName(store, address), session: 0, volume: 0, store, serverId, peer };
    });
  }

  /** Never rejects. */
  async ask<Q, R>(whom: readonly Asked[], method: Method<Q, R>, body: Q): Promise<Answers<R>> {
    /** An answer, or why there is none. */
    const found: ({ from: Asked; body: R } | string)[] = [];
    const left = whom.entries();
    const worker = async () => {
      for (const [index, from] of left) found[index] = await this.#askOne(from, method, body);
    };
    await Promise.all(Array.from({ length: Math.min(askedAtOnce, whom.length) }, worker));
    return {
      answers: found.filter((one) => typeof one !== "string"),
      silent: found.filter((one) => typeof one === "string").slice(0, silentMax),
    };
  }

  async #askOne<Q, R>(from: Asked, method: Method<Q, R>, body: Q): Promise<{ from: Asked; body: R } | string> {
    if (from.peer === undefined) return `${from.who}: not connected`;
    try {
      const reply = await from.peer.request(method, body, { timeoutMs: answerTimeoutMs, urgent: true });
      return { from, body: reply.body };
    } catch (error) {
      const reason = messageOf(error);
      return `${from.who}: ${reason.slice(0, reasonLengthMax)}`;
    }
  }
}

export function storeName(store: number, address: string): string {
  return `store ${store} (${address})`;
}
