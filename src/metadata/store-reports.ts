/**
 * Checks stores that clients could not reach or that failed them. A report is a hint: only what this server finds itself
 * counts. It answers when the store is out of its groups, or has been heard of again after the report.
 */
import { setGroups } from "../wire/catalogue/store.ts";
import type { Groups } from "./groups.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

/** Between two looks at a store that is neither heard nor dead. */
const lookAgainMs = 20;

export class StoreReports {
  readonly #leader: Leader;
  readonly #stores: Stores;
  readonly #groups: Groups;
  /** Checks under way, which later reports share. */
  readonly #checks = new Map<number, Promise<boolean>>();

  constructor(leader: Leader, stores: Stores, groups: Groups) {
    this.#leader = leader;
    this.#stores = stores;
    this.#groups = groups;
  }

  /** Resolves with whether clients no longer have to write to the store. */
  async check(store: number, reason: string, session: number): Promise<boolean> {
    const state = this.#stores.get(store);
    if (state === undefined) return true;
    // What it failed to take is missing there, whatever becomes of it: that must be known before the writer goes on.
    await this.#groups.missedWrite(store);
    const known = this.#checks.get(store);
    if (known !== undefined) return known;
    this.#leader.log.warn("a client reports a store", { store, address: state.address, session, reason });
    const check = this.#check(store).finally(() => this.#checks.delete(store));
    this.#checks.set(store, check);
    return check;
  }

  async #check(store: number): Promise<boolean> {
    const { lifetime, waits } = this.#leader;
    const reportedMs = lifetime.nowMs();
    const wait = waits.begin("store", () => ({ store }));
    const [hasAnswered] = await Promise.all([this.#greet(store), this.#stores.probe(store)]);
    while (!lifetime.stopped && this.#stores.condition(store) !== "dead") {
      const isHeard = hasAnswered || this.#stores.get(store)!.heardMs > reportedMs;
      if (isHeard && this.#stores.condition(store) === "online") break;
      await lifetime.sleep(lookAgainMs);
    }
    await this.#groups.settled();
    wait.end();
    return !this.#groups.isInUse(store);
  }

  /** Asks the store for an answer, instead of waiting for its next heartbeat: no news of no groups. */
  async #greet(store: number): Promise<boolean> {
    const peer = this.#stores.peer(store);
    if (peer === undefined) return false;
    try {
      await peer.request(setGroups, { views: [] }, { timeoutMs: this.#leader.timeouts.probeMs, urgent: true });
      return true;
    } catch {
      return false; // its heartbeats, or their absence, will tell
    }
  }
}
