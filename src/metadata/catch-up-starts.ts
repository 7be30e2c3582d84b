/** Who is told to begin a catch-up, and from whom: members that are catching up, once they and their source know the generation. */
import { messageOf } from "../errors/message.ts";
import type { GroupRecord } from "../namespace/model.ts";
import { isOrphaned } from "../placement/heir.ts";
import { catchUp } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import { copySources, slowSources } from "./copy-sources.ts";
import type { Leader } from "./leader.ts";
import type { Salvage } from "./salvage.ts";
import type { Stores } from "./stores.ts";

export interface CatchUpStartsParts {
  readonly leader: Leader;
  readonly stores: Stores;
  readonly salvage: Salvage;
  readonly lookLater: () => void;
}

export class CatchUpStarts {
  readonly #parts: CatchUpStartsParts;
  /** What stores have been told: by group and store, the generation, source and connection. */
  readonly #started = new Map<string, { generation: number; source: number; peer: Peer }>();

  constructor(parts: CatchUpStartsParts) {
    this.#parts = parts;
  }

  /** All that can begin now and hasn't. Never rejects. */
  async begin(): Promise<void> {
    const starts: Promise<void>[] = [];
    const slow = slowSources(this.#parts.leader, this.#parts.stores);
    for (const group of this.#parts.leader.namespace.groups()) {
      if (isOrphaned(group)) this.#parts.salvage.begin(group, (store) => this.#knows(store, group));
      const holders = group.members.filter(({ store, state }) => state === "inSync" && this.#knows(store, group));
      const sources = copySources(holders, slow);
      // By turns: a member that is behind in many groups is filled by all who hold them, not by one.
      const source = sources[group.group % sources.length];
      if (source === undefined) continue;
      for (const { store, state } of group.members) {
        if (state === "catchingUp" && this.#knows(store, group)) starts.push(this.#start(group, store, source.store));
      }
    }
    await Promise.all(starts);
  }

  /** True if the store is online and has confirmed the group's generation. */
  #knows(store: number, group: GroupRecord): boolean {
    const { stores } = this.#parts;
    const isOnline = stores.condition(store) === "online";
    return isOnline && stores.get(store)!.generations.get(group.group) === group.generation;
  }

  async #start({ group, generation }: GroupRecord, store: number, source: number): Promise<void> {
    const { leader, stores, lookLater } = this.#parts;
    const key = `${group} ${store}`;
    const peer = stores.peer(store)!;
    const started = this.#started.get(key);
    if (started?.generation === generation && started.source === source && started.peer === peer) return;
    this.#started.set(key, { generation, source, peer });
    const { address } = stores.get(source)!;
    try {
      const { startCatchUpMs: timeoutMs } = leader.timeouts;
      await peer.request(catchUp, { group, generation, source: address }, { timeoutMs });
    } catch (error) {
      this.#started.delete(key);
      if (leader.lifetime.stopped) return;
      const reason = messageOf(error);
      leader.log.warn("a catch-up could not begin", { group, generation, store, reason });
      lookLater();
    }
  }
}
