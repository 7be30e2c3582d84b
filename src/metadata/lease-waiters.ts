/** Who waits for which lease: a queue for each contested inode, in the order of arrival. There are few of them. */
import type { BrineError } from "../errors/brine-error.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";

export interface Waiter {
  readonly session: number;
  readonly inode: number;
  mode: LeaseMode;
  /** For the data of a file: the split lease does as well. */
  forData: boolean;
  /** What its request was given to wait for; undefined for one that waits for a moment only. */
  readonly promise: Promise<number> | undefined;
  /** One of these is called once, after it has left its queue. 0: it gave up. */
  granted(grant: number): void;
  refused(reason: BrineError): void;
}

export class LeaseWaiters {
  readonly #queues = new Map<number, Waiter[]>();
  readonly #bySession = new Map<number, Set<Waiter>>();

  has(inode: number): boolean {
    return this.#queues.has(inode);
  }

  /** The first in line comes first. */
  of(inode: number): readonly Waiter[] {
    return this.#queues.get(inode) ?? [];
  }

  find(session: number, inode: number): Waiter | undefined {
    return this.#queues.get(inode)?.find((waiter) => waiter.session === session);
  }

  ofSession(session: number): Waiter[] {
    return [...(this.#bySession.get(session) ?? [])];
  }

  countOf(session: number): number {
    return this.#bySession.get(session)?.size ?? 0;
  }

  add(waiter: Waiter): void {
    const queue = this.#queues.get(waiter.inode);
    if (queue === undefined) this.#queues.set(waiter.inode, [waiter]);
    else queue.push(waiter);
    const ofSession = this.#bySession.get(waiter.session);
    if (ofSession === undefined) this.#bySession.set(waiter.session, new Set([waiter]));
    else ofSession.add(waiter);
  }

  /** False if it is in no queue any more. */
  remove(waiter: Waiter): boolean {
    const ofSession = this.#bySession.get(waiter.session);
    if (ofSession === undefined || !ofSession.delete(waiter)) return false;
    if (ofSession.size === 0) this.#bySession.delete(waiter.session);
    const queue = this.#queues.get(waiter.inode)!;
    queue.splice(queue.indexOf(waiter), 1);
    if (queue.length === 0) this.#queues.delete(waiter.inode);
    return true;
  }
}
