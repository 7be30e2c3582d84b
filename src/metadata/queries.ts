/** What clients ask of the volume as a whole. */
import type { Leader } from "./leader.ts";
import type { Session } from "./sessions.ts";
import type { StoreState, Stores } from "./stores.ts";

export class Queries {
  readonly #leader: Leader;
  readonly #stores: Stores;

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** Room of the volume's stores, by what they said last, shared by its replicas. Grants that aren't used are free. */
  statVolume(session: Session): { totalBytes: number; freeBytes: number; inodeCount: number } {
    const { namespace } = this.#leader;
    const volume = namespace.volumes().find((one) => one.volume === session.volume)!;
    const members = new Set<number>();
    for (const group of namespace.groups()) {
      if (group.volume === volume.volume) for (const member of group.members) members.add(member.store);
    }
    const heard = this.#stores.all().filter((one) => members.has(one.store) && one.isSeen);
    // A store that has not been heard of since the start counts as the others do.
    const share = heard.length === 0 ? 0 : members.size / heard.length / volume.replicas;
    const sum = (bytes: (store: StoreState) => number): number =>
      Math.floor(heard.reduce((total, store) => total + bytes(store), 0) * share);
    return {
      totalBytes: sum((store) => store.totalBytes),
      freeBytes: sum((store) => store.freeBytes),
      inodeCount: volume.inodeCount,
    };
  }
}
