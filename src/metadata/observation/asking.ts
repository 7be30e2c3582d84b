/**
 * Asks every client and store that is connected, at once, and waits no longer than a person likes to. Who doesn't answer is
 * named: a process that is paused or overloaded is often what everybody waits for.
 */
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
    const answers: { from: Asked; body: R }[] = [];
    const silent: string[] = [];
    const left = whom.values();
    const worker = async () => {
      for (const from of left) {
        if (from.peer === undefined) {
          silent.push(`${from.who}: not connected`);
          continue;
        }
        try {
          const reply = await from.peer.request(method, body, { timeoutMs: answerTimeoutMs, urgent: true });
          answers.push({ from, body: reply.body });
        } catch (error) {
          silent.push(`${from.who}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(askedAtOnce, whom.length) }, worker));
    return { answers, silent: silent.slice(0, silentMax).map((line) => line.slice(0, 250)) };
  }
}

export function storeName(store: number, address: string): string {
  return `store ${store} (${address})`;
}
