/**
 * What stores have said that they have lost (store/damage.ts), by the groups in which it still matters: those in which they
 * were in sync when they said it, until they have left them, or are the only ones in sync.
 */
import type { GroupRecord } from "../namespace/model.ts";
import type { StoreLoss } from "../placement/next-members.ts";

interface Loss {
  readonly loss: StoreLoss;
  readonly groups: Set<number>;
}

export class Losses {
  readonly #losses = new Map<number, Loss>();

  /** A store has said it, of all groups in which it is in sync. Replaces what it said before. */
  tell(store: number, loss: StoreLoss, groups: readonly GroupRecord[]): void {
    this.#losses.delete(store);
    if (loss === "none") return;
    const concerned = groups.filter((group) => isInSync(group, store)).map(({ group }) => group);
    this.#losses.set(store, { loss, groups: new Set(concerned) });
  }

  of(store: number, group: number): StoreLoss {
    const lost = this.#losses.get(store);
    return lost?.groups.has(group) === true ? lost.loss : "none";
  }

  /** Forgets what matters no more; returns the groups in which it does. */
  left(store: number, groups: readonly GroupRecord[]): readonly number[] {
    const lost = this.#losses.get(store);
    if (lost === undefined) return [];
    for (const group of groups) {
      const isOnlyOne = lost.loss === "possible" && inSyncCount(group) === 1;
      if (!isInSync(group, store) || isOnlyOne) lost.groups.delete(group.group);
    }
    if (lost.groups.size === 0) this.#losses.delete(store);
    return [...lost.groups];
  }

  /** The same for all stores. */
  prune(groups: readonly GroupRecord[]): void {
    for (const store of [...this.#losses.keys()]) this.left(store, groups);
  }
}

function isInSync(group: GroupRecord, store: number): boolean {
  return group.members.some((member) => member.store === store && member.state === "inSync");
}

function inSyncCount(group: GroupRecord): number {
  return group.members.filter(({ state }) => state === "inSync").length;
}
