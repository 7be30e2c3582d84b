/**
 * Background work that gives space back, a bounded piece at a time:
 *
 * - orphans that nobody uses (no hold, no lease) lose their chunks, and then go;
 * - deleted volumes are emptied;
 * - chunks that no file maps are deleted at every in-sync and catching-up member of their group, and then leave the list
 *   of deletions. Members that are behind compare everything when they come back.
 *
 * Everything is found in the namespace again after a restart, so nothing has to be remembered.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { type GroupRecord, groupOfChunk } from "../namespace/model.ts";
import { deleteChunks } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import { type Holdings, isInUse } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { Sessions } from "./sessions.ts";
import type { Stores } from "./stores.ts";

/** Orphans in one batch: with one chunk each they fill a fraction of a ledger entry. */
const orphansAtOnce = 512;
/** Mappings or rows that one transaction removes: some ten milliseconds of the event loop. */
const rowsAtOnce = 2000;
/** Chunks in one round: the bound of the catalogue. */
const chunksAtOnce = 4096;
/** Between the cause and the work, so that one round serves many causes. */
const delayMs = 10;
/** The same, while something has to be left (an orphan is held, a store is away): it is passed over every time. */
const delayMsWithRest = 500;
/** What was left is looked at again without a cause. */
const againMs = 1_000;

export interface ReaperParts {
  readonly leader: Leader;
  readonly stores: Stores;
  readonly sessions: Sessions;
  readonly holdings: Holdings;
}

export class Reaper {
  readonly #leader: Leader;
  readonly #stores: Stores;
  readonly #sessions: Sessions;
  readonly #holdings: Holdings;
  #isPlanned = false;
  #running = false;
  #mustLook = false;
  /** The last round had to leave something. */
  #hasRest = false;

  constructor(parts: ReaperParts) {
    this.#leader = parts.leader;
    this.#stores = parts.stores;
    this.#sessions = parts.sessions;
    this.#holdings = parts.holdings;
  }

  start(): void {
    this.look();
    this.#leader.lifetime.repeat(againMs, () => this.look());
  }

  /** There may be work. */
  look(): void {
    this.#mustLook = true;
    if (this.#isPlanned || this.#running) return;
    this.#isPlanned = true;
    this.#leader.lifetime.startTimer(this.#hasRest ? delayMsWithRest : delayMs, () => {
      this.#isPlanned = false;
      this.#leader.lifetime.run("reaper", () => this.#run());
    });
  }

  /** Somebody uses something less: what had to be left may be free. */
  lookAtRest(): void {
    if (this.#hasRest || this.#running) this.look();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const { lifetime, log } = this.#leader;
    try {
      this.#mustLook = false;
      this.#hasRest = false;
      await this.reapOrphans();
      await this.#emptyVolumes();
      await this.#deleteChunks();
    } catch (error) {
      // It is tried again with the next look; everything else is a defect.
      if (!hasCode(error, "noSpace", "busy", "notServing")) throw error;
      if (!lifetime.stopped) log.warn("background work has to wait", { reason: error.message });
    } finally {
      this.#running = false;
      if (this.#mustLook) this.look();
    }
  }

  /** At once, and all that nobody uses. Errors: noSpace, busy, notServing. */
  async reapOrphans(): Promise<void> {
    const { namespace, lifetime } = this.#leader;
    for (let after = 0; !lifetime.stopped; ) {
      const orphans = namespace.orphans(after, orphansAtOnce);
      if (orphans.length === 0) return;
      after = orphans.at(-1)!.inode;
      const free = orphans.filter(({ volume, inode }) => this.#isFree(volume, inode));
      if (free.length < orphans.length) this.#hasRest = true;
      await Promise.all(free.map(({ volume, inode }) => this.#reap(volume, inode)));
    }
  }

  #isFree(volume: number, inode: number): boolean {
    return !this.#sessions.isInGrace(volume) && !isInUse(this.#holdings.of(volume), inode);
  }

  /** Once begun, a reaping goes on: nobody gets a lease on an orphan that nobody uses (lease-answers.ts). */
  async #reap(volume: number, inode: number): Promise<void> {
    const { committer, lifetime } = this.#leader;
    while (!lifetime.stopped) {
      const result = await committer.execute({ kind: "reapOrphan", volume, inode, limit: rowsAtOnce });
      if (result.kind !== "reaped" || result.finished) return;
    }
  }

  async #emptyVolumes(): Promise<void> {
    const { namespace, committer, lifetime, log } = this.#leader;
    for (const { volume, name, deleted } of namespace.volumes()) {
      while (deleted && !lifetime.stopped) {
        const result = await committer.execute({ kind: "removeVolumeInodes", volume, limit: rowsAtOnce });
        if (result.kind === "reaped" && !result.finished) continue;
        log.info("deleted volume is empty", { volume: name });
        break;
      }
    }
  }

  async #deleteChunks(): Promise<void> {
    const { namespace, lifetime } = this.#leader;
    for (let after = 0; !lifetime.stopped; ) {
      const chunks = namespace.chunksToDelete(after, chunksAtOnce);
      if (chunks.length === 0) return;
      after = chunks.at(-1)!;
      await this.#deleteEverywhere(chunks);
    }
  }

  /** Deletes chunks of those groups whose members can all be reached. */
  async #deleteEverywhere(chunks: readonly number[]): Promise<void> {
    const { committer, lifetime } = this.#leader;
    const groups = this.#reachableGroups();
    const possible = chunks.filter((chunk) => groups.has(groupOfChunk(chunk)));
    if (possible.length < chunks.length) this.#hasRest = true;
    if (possible.length === 0) return;
    const ofStore = new Map<number, number[]>();
    for (const chunk of possible) {
      for (const store of membersToAsk(groups.get(groupOfChunk(chunk))!)) {
        const list = ofStore.get(store);
        if (list === undefined) ofStore.set(store, [chunk]);
        else list.push(chunk);
      }
    }
    const confirmed = new Map<number, Peer>();
    await Promise.all(
      [...ofStore].map(async ([store, list]) => {
        const peer = await this.#deleteAt(store, list);
        if (peer !== undefined) confirmed.set(store, peer);
      }),
    );
    if (lifetime.stopped) return;
    // A store that has started again doesn't remember what it has deleted, and may have copied it from a member that had not
    // deleted it yet: it is asked once more.
    const hasDeleted = (store: number) => confirmed.has(store) && this.#stores.peer(store) === confirmed.get(store);
    // Groups as they are now: who came in meanwhile has copied from a member that had deleted, or is asked next time.
    const now = new Map(this.#leader.namespace.groups().map((group) => [group.group, group]));
    const deleted = possible.filter((chunk) => {
      const group = groupOfChunk(chunk);
      const isUnchanged = now.get(group)!.generation === groups.get(group)!.generation;
      return isUnchanged && membersToAsk(groups.get(group)!).every(hasDeleted);
    });
    if (deleted.length < possible.length) this.#hasRest = true;
    if (deleted.length > 0) await committer.execute({ kind: "chunksDeleted", chunks: deleted });
  }

  #reachableGroups(): Map<number, GroupRecord> {
    const groups = new Map<number, GroupRecord>();
    for (const group of this.#leader.namespace.groups()) {
      const isReachable = membersToAsk(group).every((store) => this.#stores.condition(store) === "online");
      if (isReachable) groups.set(group.group, group);
    }
    return groups;
  }

  /** The connection over which it was confirmed; undefined if it wasn't. */
  async #deleteAt(store: number, chunks: number[]): Promise<Peer | undefined> {
    const { timeouts, lifetime, log } = this.#leader;
    const peer = this.#stores.peer(store);
    if (peer === undefined) return undefined;
    try {
      await peer.request(deleteChunks, { chunks }, { timeoutMs: timeouts.deleteChunksMs });
      return peer;
    } catch (error) {
      if (!(error instanceof BrineError)) throw error;
      if (!lifetime.stopped) log.warn("chunks were not deleted, they will be later", { store, reason: error.message });
      return undefined;
    }
  }
}

function membersToAsk(group: GroupRecord): number[] {
  return group.members.filter((member) => member.state !== "behind").map((member) => member.store);
}
