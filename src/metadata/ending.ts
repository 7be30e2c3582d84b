/**
 * Ends a session so that nothing of it can take effect any more, and nothing half done is left.
 *
 * The problem: a client that died may have written a block on one member and not on the other; a request of it may still
 * be on its way. If its leases went to another client now, that one could read two different things, and be overwritten.
 *
 * 1. No request of the session is answered by the leader any more (sessions.ts: `ending`).
 * 2. Every store that may be serving is told to fence it, and confirms when what was under way is finished. A store that
 *    does not confirm is cut off; it counts as fenced when it is still, because it learns the live sessions when it
 *    registers again.
 * 3. Its transactions that are in the queue are waited for: they may map chunks.
 * 4. The chunks that it may have been writing are made equal on all members of their groups: those of the inodes to which
 *    it had the exclusive lease, or, where nobody knows (it didn't come back after a restart of the leader), all of its
 *    volume's groups. Chunks that it was granted and that no file maps need not be equal: they are deleted.
 * 5. `closeSession` is committed. After that its leases and holds go (sessions.ts).
 *
 * If the leader dies in between, the session is still in the state, and the next leader begins again.
 */
import { hasCode } from "../errors/brine-error.ts";
import { messageOf } from "../errors/message.ts";
import { groupOfChunk } from "../namespace/model.ts";
import { isOrphaned } from "../placement/heir.ts";
import { equalize, fenceSession } from "../wire/catalogue/store.ts";
import { copySources, slowSources } from "./copy-sources.ts";
import type { Groups } from "./groups.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { Session } from "./sessions.ts";
import type { Stores } from "./stores.ts";

/** Chunks in one request: the bound of the catalogue. */
const chunksMax = 4096;
/** Mappings read in one scan, and inodes looked at in one turn of the event loop. */
const mappingsAtOnce = 1000;
const inodesAtOnce = 1000;
/** Between two looks at stores that are neither reached nor still. */
const lookAgainMs = 50;

/** What has to be made equal in one group. */
interface Doubt {
  readonly group: number;
  /** Undefined: all of the group. */
  readonly chunks: number[] | undefined;
}

export interface EndingParts {
  readonly leader: Leader;
  readonly stores: Stores;
  readonly groups: Groups;
  readonly holdings: Holdings;
  /** Resolves when the transactions that were taken from the session have their results. */
  readonly whenAnswered: (session: number) => Promise<void>;
}

export class Ending {
  readonly #leader: Leader;
  readonly #stores: Stores;
  readonly #groups: Groups;
  readonly #holdings: Holdings;
  readonly #whenAnswered: (session: number) => Promise<void>;

  constructor(parts: EndingParts) {
    this.#leader = parts.leader;
    this.#stores = parts.stores;
    this.#groups = parts.groups;
    this.#holdings = parts.holdings;
    this.#whenAnswered = parts.whenAnswered;
  }

  /** Resolves when the session's end is committed, or this server stops. */
  async end(session: Session): Promise<void> {
    const { waits, lifetime } = this.#leader;
    const wait = waits.begin("end of a session", () => ({ session: session.id, host: session.host }));
    await this.#fence(session);
    await this.#whenAnswered(session.id);
    if (!lifetime.stopped) await this.#equalize(session);
    if (!lifetime.stopped) await this.#commit(session);
    wait.end();
  }

  async #fence(session: Session): Promise<void> {
    await Promise.all(this.#stores.all().map(({ store }) => this.#fenceAt(store, session)));
  }

  async #fenceAt(store: number, session: Session): Promise<void> {
    const { lifetime, timeouts } = this.#leader;
    while (!lifetime.stopped && !this.#stores.isStill(store)) {
      const peer = this.#stores.peer(store);
      // Before its first heartbeat the list of live sessions in its registration may not have reached it yet, and would
      // undo the fencing.
      if (peer === undefined || !this.#stores.get(store)!.hasBeat) {
        await lifetime.sleep(lookAgainMs);
        continue;
      }
      try {
        await peer.request(fenceSession, { session: session.id }, { timeoutMs: timeouts.fenceMs, urgent: true });
        return;
      } catch (error) {
        if (!lifetime.stopped)
          this.#stores.revoke(store, peer, `session ${session.id} was not fenced: ${messageOf(error)}`);
      }
    }
  }

  async #equalize(session: Session): Promise<void> {
    const doubts = session.isKnown ? await this.#doubts(session) : this.#allGroups(session);
    if (doubts.length === 0) return;
    const copied = await Promise.all(doubts.map((doubt) => this.#settle(doubt)));
    const blocks = copied.reduce((sum, count) => sum + count, 0);
    this.#leader.log.info("chunks made equal", { session: session.id, groups: doubts.length, copiedBlocks: blocks });
  }

  #allGroups(session: Session): Doubt[] {
    const { namespace } = this.#leader;
    const volume = namespace.volume(session.volume);
    if (volume === undefined || volume.chunkCount === 0) return [];
    const groups = namespace.groups().filter((group) => group.volume === volume.volume);
    return groups.map(({ group }) => ({ group, chunks: undefined }));
  }

  async #doubts(session: Session): Promise<Doubt[]> {
    const byGroup = new Map<number, number[]>();
    const { leases } = this.#holdings.of(session.volume);
    for (const [index, inode] of leases.split.exclusiveInodes(session.id).entries()) {
      // There may be some hundred thousand of them.
      if (index % inodesAtOnce === inodesAtOnce - 1) await this.#leader.lifetime.sleep(0);
      for (const chunk of this.#chunksOf(session.volume, inode)) {
        const group = groupOfChunk(chunk);
        const chunks = byGroup.get(group);
        if (chunks === undefined) byGroup.set(group, [chunk]);
        else chunks.push(chunk);
      }
    }
    return [...byGroup].map(([group, chunks]) => ({ group, chunks }));
  }

  *#chunksOf(volume: number, inode: number): Generator<number> {
    const { chunkCount } = this.#leader.namespace.inode(volume, inode)?.attributes ?? { chunkCount: 0 };
    for (let from = 0, seen = 0; seen < chunkCount; ) {
      const { mappings, mappedBelow } = this.#leader.namespace.mappings(volume, inode, from, mappingsAtOnce);
      for (const { chunk } of mappings) yield chunk;
      if (mappings.length === 0) return;
      seen += mappings.length;
      from = mappedBelow;
    }
  }

  /** Until all members of the group have the same. Returns the number of blocks that had to be copied. */
  async #settle(doubt: Doubt): Promise<number> {
    const { lifetime, timeouts, log } = this.#leader;
    const wait = this.#leader.waits.begin("equal chunks", () => ({
      group: doubt.group,
      ...this.#membersOf(doubt.group),
    }));
    let copied = 0;
    for (let reported = false; !lifetime.stopped; ) {
      try {
        const blocks = await this.#equalizeGroup(doubt);
        if (blocks !== undefined) {
          copied = blocks;
          break;
        }
        await lifetime.sleep(lookAgainMs);
      } catch (error) {
        if (lifetime.stopped) break;
        if (!reported) log.warn("chunks can't be made equal yet", { group: doubt.group, reason: messageOf(error) });
        reported = true;
        await lifetime.sleep(timeouts.retryMs);
      }
    }
    wait.end();
    return copied;
  }

  /** One try in the present generation; undefined while a member is neither reached nor out of the group. */
  async #equalizeGroup({ group, chunks }: Doubt): Promise<number | undefined> {
    const record = this.#groups.group(group)!;
    const { generation } = record;
    const inSync = record.members.filter((member) => member.state === "inSync");
    const others = record.members.filter((member) => member.state === "catchingUp");
    const holders = inSync.filter((member) => this.#stores.condition(member.store) === "online");
    const [source] = copySources(holders, slowSources(this.#leader, this.#stores));
    // One in-sync member that nobody reaches: there is nothing to compare it with, nor anyone who could read.
    // Nor if nobody is in sync: what its heir has is right, and the others catch up from it.
    if (source === undefined) return isOrphaned(record) || (inSync.length === 1 && others.length === 0) ? 0 : undefined;
    const targets = [...inSync, ...others].filter((member) => member !== source);
    if (targets.some((member) => this.#stores.condition(member.store) !== "online")) return undefined;
    const address = this.#stores.get(source.store)!.address;
    const all = chunks === undefined;
    let copied = 0;
    for (const { store } of targets) {
      for (const part of all ? [[]] : parts(chunks)) {
        const peer = this.#stores.peer(store);
        if (peer === undefined) return undefined;
        const request = { group, generation, source: address, chunks: part, all };
        const { body } = await peer.request(equalize, request, { timeoutMs: this.#leader.timeouts.equalizeMs });
        copied += body.copiedBlocks;
      }
    }
    // A member that came in meanwhile has not been compared.
    return this.#groups.group(group)!.generation === generation ? copied : undefined;
  }

  #membersOf(group: number): { members: string } {
    const members = this.#groups.group(group)?.members ?? [];
    return { members: members.map(({ store, state }) => `${store} ${state}`).join(", ") };
  }

  async #commit(session: Session): Promise<void> {
    const { committer, lifetime, timeouts, log } = this.#leader;
    while (!lifetime.stopped) {
      try {
        await committer.execute({ kind: "closeSession", session: session.id });
        return;
      } catch (error) {
        if (lifetime.stopped) return;
        if (!hasCode(error, "noSpace", "busy")) throw error;
        log.warn("the end of a session has to wait", { session: session.id, reason: error.message });
        await lifetime.sleep(timeouts.retryMs);
      }
    }
  }
}

function parts(chunks: readonly number[]): number[][] {
  const result: number[][] = [];
  for (let at = 0; at < chunks.length; at += chunksMax) result.push(chunks.slice(at, at + chunksMax));
  return result;
}
