/**
 * Groups whose last good copy is on a store that is gone for good: what is left of them is made to serve, when an operator has
 * accepted the loss.
 *
 * 1. `giveUp` commits the groups' next generations without the store. Where somebody else is in sync nothing is lost. Else the group gets
 *    an heir (placement/heir.ts), and nobody is in sync: it is neither read nor written. So the store is never believed again, whatever
 *    becomes of this leader.
 * 2. The heir is told what files have in the group: blocks of mapped chunks, up to the file's end. What it doesn't have of them it
 *    marks as lost, durably (store/lost-blocks.ts). Were it not, a chunk that it never had would be made by the next small write,
 *    with zeros around it; and one of which it has the beginning would end with zeros.
 * 3. Then it is as good as caught up. The other members catch up from it, and get the marks with the rest.
 *
 * What the heir has is older than what was acknowledged, where it missed overwrites: that can't be seen. And where a file has holes
 * within a chunk that the heir has, they are marked too: nobody knows any more that they were holes.
 *
 * The first step is committed; the others are done by whoever leads, from the groups as committed, and can be done twice.
 */
import { BrineError } from "../errors/brine-error.ts";
import { blockBytes, blocksPerChunk, chunkBytes, type GroupMember, type GroupRecord } from "../namespace/model.ts";
import type { Operation } from "../namespace/operation.ts";
import { mayHold } from "../placement/failure-domains.ts";
import { isOrphaned, withHeir } from "../placement/heir.ts";
import { Loads } from "../placement/loads.ts";
import type { PlannedStore } from "../placement/plan-moves.ts";
import type { Heir } from "../wire/catalogue/admin.ts";
import { type LostRange, loseBlocks, lostRangesMax } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

export interface SalvageParts {
  readonly leader: Leader;
  readonly stores: Stores;
  readonly planned: () => PlannedStore[];
  /** The heir knows what it has. */
  readonly caughtUp: (store: number, group: number, generation: number) => void;
  /** A failure: groups are to be looked at again. */
  readonly lookLater: () => void;
}

export class Salvage {
  readonly #parts: SalvageParts;
  /** By group: begun, and not failed. */
  readonly #begun = new Map<number, { generation: number; peer: Peer }>();
  /** One at a time: the last of them. */
  #last: Promise<void> = Promise.resolve();

  constructor(parts: SalvageParts) {
    this.#parts = parts;
  }

  /** Takes a dead store out of all groups; returns who goes on with those that it leaves orphaned. Errors: refused, busy. */
  async giveUp(store: number): Promise<Heir[]> {
    const { leader, stores } = this.#parts;
    const { namespace, log } = leader;
    const groups = namespace.groups().filter(({ members }) => members.some((one) => one.store === store));
    const changes = this.#changesWithout(store, groups);
    const results = await Promise.all(changes.map((change) => leader.committer.execute(change)));
    if (results.some(({ kind }) => kind !== "done")) {
      throw new BrineError("busy", `groups of store ${store} have changed meanwhile`, { advice: "try it again" });
    }
    const heirs = new Map<number, Heir>();
    for (const change of changes) {
      if (change.kind !== "acceptLoss") continue;
      const heir = heirOf(change.members)!;
      const had = groups.find(({ group }) => group === change.group)!.members.some((one) => one.store === heir);
      const known = heirs.get(heir) ?? {
        store: heir,
        isOnline: stores.condition(heir) === "online",
        groups: 0,
        empty: 0,
      };
      heirs.set(heir, { ...known, groups: known.groups + 1, empty: known.empty + (had ? 0 : 1) });
    }
    for (const heir of heirs.values()) log.error("a loss was accepted: what is left goes on", { gone: store, ...heir });
    return [...heirs.values()];
  }

  /** An orphaned group whose heir may know of it. */
  begin(record: GroupRecord, isKnown: (store: number) => boolean): void {
    const { leader, stores } = this.#parts;
    const { group, generation } = record;
    const heir = heirOf(record.members);
    const peer = heir === undefined || !isKnown(heir) ? undefined : stores.peer(heir);
    const begun = this.#begun.get(group);
    if (heir === undefined || peer === undefined) return;
    if (begun?.generation === generation && begun.peer === peer) return;
    this.#begun.set(group, { generation, peer });
    this.#last = this.#last.then(() => this.#markLost({ group, generation, heir, peer }));
    leader.lifetime.run("salvage", () => this.#last);
  }

  /** Errors: refused. */
  #changesWithout(store: number, groups: readonly GroupRecord[]): Extract<Operation, { members: GroupMember[] }>[] {
    const { leader, stores, planned } = this.#parts;
    const { namespace } = leader;
    const loads = new Loads(namespace.groups());
    return groups.map((record) => {
      const { group, generation } = record;
      const others = record.members.filter((one) => one.store !== store);
      if (!isOrphaned({ members: others })) return { kind: "changeGroup", group, generation, members: others };
      const newStore = () => {
        const free = planned().filter((one) => one.store !== store && one.online && mayHold(one, record));
        const open = free.filter(({ role }) => role === "takes" || role === "spare");
        const [emptiest] = open.sort((left, right) => loads.total(left.store) - loads.total(right.store));
        if (emptiest !== undefined) loads.join(record, emptiest.store);
        return emptiest?.store;
      };
      const members = withHeir(record, store, {
        lastInSync: (one) => namespace.lastInSync(group, one),
        isOnline: (one) => stores.condition(one) === "online",
        newStore,
      });
      if (members !== undefined) return { kind: "acceptLoss", group, generation, members };
      throw new BrineError("refused", `no store is online that could go on with group ${group}`, {
        advice: "start one more server with the store role, or the server of another store",
      });
    });
  }

  /** Never rejects. */
  async #markLost(work: { group: number; generation: number; heir: number; peer: Peer }): Promise<void> {
    const { leader, caughtUp, lookLater } = this.#parts;
    const { lifetime, namespace, timeouts, log } = leader;
    const { group, generation, heir, peer } = work;
    try {
      for (let after = 0; !lifetime.stopped; ) {
        // What is deleted after this moment is deleted at the heir behind the request.
        const chunks = namespace.mappedChunks(group, after, lostRangesMax);
        if (chunks.length === 0) break;
        const ranges = chunks.map((chunk) => this.#rangeOf(chunk));
        await peer.request(loseBlocks, { group, generation, ranges }, { timeoutMs: timeouts.deleteChunksMs });
        after = chunks.at(-1)!;
      }
      if (!lifetime.stopped) caughtUp(heir, group, generation);
    } catch (error) {
      if (!(error instanceof BrineError)) throw error;
      this.#begun.delete(group);
      if (lifetime.stopped) return;
      log.warn("what is lost of a group could not be marked yet", { group, store: heir, reason: error.message });
      lookLater();
    }
  }

  /** Blocks of a chunk before the end of its file. */
  #rangeOf(chunk: number): LostRange {
    const { namespace } = this.#parts.leader;
    const { volume, inode, index } = namespace.chunkOwner(chunk)!;
    const bytes = (namespace.inode(volume, inode)?.attributes.size ?? 0) - index * chunkBytes;
    return { chunk, firstBlock: 0, blockCount: Math.min(Math.max(Math.ceil(bytes / blockBytes), 0), blocksPerChunk) };
  }
}

function heirOf(members: readonly GroupMember[]): number | undefined {
  return members.find(({ state }) => state === "catchingUp")?.store;
}
