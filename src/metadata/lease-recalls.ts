/** Recalls of leases: each holder in the way is told once, and again as long as it has not given back. */
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import type { Waiter } from "./lease-waiters.ts";
import type { Recalls } from "./recalls.ts";

export class LeaseRecalls {
  readonly #table: LeaseTable;
  readonly #recalls: Recalls;
  /** Inodes with recalled holders. */
  readonly #recalling = new Set<number>();

  constructor(table: LeaseTable, recalls: Recalls) {
    this.#table = table;
    this.#recalls = recalls;
  }

  /** What is in the way of the head of a queue; holders are told how much all in the queue want. */
  recallFor(head: Waiter, queue: readonly Waiter[]): void {
    const wanting = queue.filter((waiter) => waiter.mode === "exclusive");
    for (let slot = this.#table.first(head.inode); slot !== none; slot = this.#table.next(slot)) {
      const session = this.#table.session(slot);
      if (session === head.session || (this.#table.mode(slot) === head.mode && head.mode === "shared")) continue;
      const goes = this.#table.mode(slot) === "split" || wanting.some((waiter) => waiter.session !== session);
      this.recall(slot, goes ? "exclusive" : "shared");
    }
  }

  recall(slot: number, wanted: LeaseMode): void {
    const told = this.#table.recalledFor(slot);
    if (told === "exclusive" || told === wanted) return;
    this.#table.setRecalled(slot, wanted);
    this.#recalling.add(this.#table.inode(slot));
    this.#send(slot, wanted);
  }

  /** A recall is lost with its connection. */
  again(): void {
    for (const inode of this.#recalling) {
      let isRecalled = false;
      for (let slot = this.#table.first(inode); slot !== none; slot = this.#table.next(slot)) {
        const wanted = this.#table.recalledFor(slot);
        if (wanted === undefined) continue;
        isRecalled = true;
        this.#send(slot, wanted);
      }
      if (!isRecalled) this.#recalling.delete(inode);
    }
  }

  #send(slot: number, wanted: LeaseMode): void {
    const lease = { inode: this.#table.inode(slot), grant: this.#table.grant(slot), wanted };
    this.#recalls.lease(this.#table.session(slot), lease);
  }
}
