/** What an operator has done with a store: add, drain, remove. Each is refused where it would end badly, with the reason. */
import { BrineError } from "../errors/brine-error.ts";
import type { GroupRecord, StoreRecord, StoreStatus } from "../namespace/model.ts";
import type { StoreChange } from "../wire/catalogue/admin.ts";
import type { Groups } from "./groups.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

export class StoreChanges {
  readonly #leader: Leader;
  readonly #stores: Stores;
  readonly #groups: Groups;

  constructor(leader: Leader, stores: Stores, groups: Groups) {
    this.#leader = leader;
    this.#stores = stores;
    this.#groups = groups;
  }

  /** Errors: notFound, refused, busy. */
  async change({ store: name, change }: StoreChange): Promise<{ store: number; groups: number }> {
    const record = this.#find(name);
    if (change === "drain") this.#checkDrain(record);
    if (change === "remove") this.#checkRemove(record);
    const status: StoreStatus = change === "add" ? "active" : change === "drain" ? "draining" : "removed";
    if (record.status !== status) await this.#commit(record.store, status);
    if (status === "removed") this.#stores.dismiss(record.store);
    this.#groups.look();
    return { store: record.store, groups: this.#groupsOf(record.store).length };
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
    const isLeft = (other: StoreRecord) => {
      const role = this.#groups.moves.role(other.store);
      return other.store !== store && role !== "leaves" && role !== "lost" && role !== "removed";
    };
    const left = this.#leader.namespace.stores().filter(isLeft).length;
    const replicas = Math.max(0, ...this.#groupsOf(store).map((group) => group.replicas));
    if (left >= replicas) return;
    throw new BrineError(
      "refused",
      `${replicas} copies need as many stores; without store ${store} there are ${left}`,
      {
        advice: 'add a store first ("brine store add"), or ask for fewer copies ("brine volume set")',
      },
    );
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
        advice: "wait until another store has caught up, or bring one back; see brine status",
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
