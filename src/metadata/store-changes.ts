/** What an operator has done with a store: add, drain, remove, call it slow. Each is refused where it would end badly, with the reason. */
import { BrineError } from "../errors/brine-error.ts";
import { type GroupRecord, type Label, labelsMax, type StoreRecord, type StoreStatus } from "../namespace/model.ts";
import { labelsText } from "../namespace/store-labels.ts";
import { mayHold } from "../placement/failure-domains.ts";
import { stays } from "../placement/plan-moves.ts";
import type { StoreChange, StoreChanged } from "../wire/catalogue/admin.ts";
import type { Groups } from "./groups.ts";
import type { Leader } from "./leader.ts";
import { checkedLabelKey } from "./named.ts";
import type { Placements } from "./placements.ts";
import type { Stores } from "./stores.ts";

export class StoreChanges {
  readonly #leader: Leader;
  readonly #stores: Stores;
  readonly #groups: Groups;
  readonly #placements: Placements;

  constructor(leader: Leader, stores: Stores, groups: Groups, placements: Placements) {
    this.#leader = leader;
    this.#stores = stores;
    this.#groups = groups;
    this.#placements = placements;
  }

  /** Errors: notFound, refused, busy. */
  async change({ store: name, change }: StoreChange): Promise<StoreChanged> {
    const record = this.#find(name);
    if (change === "giveUp") return this.#giveUp(record);
    if (change === "slow" || change === "notSlow") {
      await this.#callSlow(record.store, change === "slow");
      return this.#changed(record.store);
    }
    if (change === "drain") this.#checkDrain(record);
    if (change === "remove") this.#checkRemove(record);
    const status: StoreStatus = change === "add" ? "active" : change === "drain" ? "draining" : "removed";
    if (record.status !== status) await this.#commit(record.store, status);
    if (status === "removed") this.#stores.dismiss(record.store);
    this.#groups.look();
    return this.#changed(record.store);
  }

  #changed(store: number): StoreChanged {
    return { store, groups: this.#groupsOf(store).length, heirs: [] };
  }

  /** It is gone for good, with whatever only it had. Errors: refused, busy. */
  #giveUp({ store, address }: StoreRecord): Promise<StoreChanged> {
    return this.#groups.between(async () => {
      if (!this.#stores.isStill(store)) {
        throw new BrineError("refused", `store ${store} (${address}) may still be serving`, {
          advice:
            "--accept-loss is for a store that is gone for good: stop its server, and try it again some seconds later",
        });
      }
      const groups = this.#groupsOf(store).length;
      const heirs = await this.#groups.salvage.giveUp(store);
      await this.#commit(store, "removed");
      this.#stores.dismiss(store);
      return { store, groups, heirs };
    });
  }

  /** Labels that change; copies move afterwards to where they belong. Errors: notFound, invalid. */
  async label(name: string, labels: readonly Label[]): Promise<{ store: number; labels: Label[] }> {
    const { store } = this.#find(name);
    for (const { key } of labels) checkedLabelKey(key);
    const result = await this.#leader.committer.execute({ kind: "setStoreLabels", store, labels: [...labels] });
    if (result.kind !== "done") throw new BrineError("invalid", `a store has at most ${labelsMax} labels`);
    this.#leader.log.info("store labelled", { store, labels: labelsText(labels) });
    this.#groups.look();
    return { store, labels: this.#find(String(store)).labels };
  }

  async #callSlow(store: number, isCalledSlow: boolean): Promise<void> {
    const result = await this.#leader.committer.execute({ kind: "callStoreSlow", store, isCalledSlow });
    if (result.kind !== "done") throw new BrineError("busy", `store ${store} was removed meanwhile`);
    this.#leader.log.info("store called slow", { store, isCalledSlow });
    // What hasn't begun yet is copied from others.
    this.#groups.look();
    await this.#placements.tellClients(undefined);
  }

  /** By its number or its address. */
  #find(name: string): StoreRecord {
    const stores = this.#leader.namespace.stores().filter(({ status }) => status !== "removed");
    const found = stores.find(({ store, address }) => String(store) === name || address === name);
    if (found !== undefined) return found;
    throw new BrineError("notFound", `there is no store "${name}"`, {
      advice: 'see "brine store list"; a new one is known once its server is started with --join, in this cluster only',
    });
  }

  /** Errors: refused. */
  #checkDrain({ store }: StoreRecord): void {
    const left = this.#groups.moves.planned().filter((other) => other.store !== store && stays(other.role));
    for (const { replicas, labels, failureDomain } of this.#groupsOf(store)) {
      const fitting = left.filter((other) => mayHold(other, { labels, failureDomain }));
      if (fitting.length >= replicas) continue;
      const on = labels.length === 0 ? "" : ` with ${labelsText(labels)}`;
      throw new BrineError(
        "refused",
        `${replicas} copies need as many stores${on}; without store ${store} there are ${fitting.length}`,
        { advice: 'add or label a store first ("brine store add", "brine store label"), or ask for fewer copies' },
      );
    }
  }

  /** Errors: refused. */
  #checkRemove({ store, address }: StoreRecord): void {
    const groups = this.#groupsOf(store);
    const only = groups.filter(({ members }) => members.every((one) => one.store === store || one.state !== "inSync"));
    const isOnly = only.some(({ members }) => members.some((one) => one.store === store && one.state === "inSync"));
    const who = `store ${store} (${address})`;
    if (isOnly) {
      const count = only.length;
      throw new BrineError("refused", `${who} has the last good copy of ${count} groups`, {
        advice:
          "wait until another store has caught up, or bring one back; see brine status. If it is gone for good: --accept-loss",
      });
    }
    const inSync = groups.filter(({ members }) => members.some((one) => one.store === store && one.state === "inSync"));
    if (inSync.length === 0 && (groups.length === 0 || this.#stores.condition(store) === "dead")) return;
    throw new BrineError("refused", `${who} still has copies of ${groups.length} groups`, {
      advice: `move them away first: brine store drain ${store}`,
    });
  }

  async #commit(store: number, status: StoreStatus): Promise<void> {
    const result = await this.#leader.committer.execute({ kind: "setStoreStatus", store, status });
    if (result.kind !== "done") {
      throw new BrineError("busy", `store ${store} has come into use meanwhile`, { advice: "try it again" });
    }
    this.#leader.log.info("store changed", { store, status });
  }

  #groupsOf(store: number): GroupRecord[] {
    return this.#leader.namespace.groups().filter(({ members }) => members.some((member) => member.store === store));
  }
}
