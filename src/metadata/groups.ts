/**
 * Brings the groups from what they are to what they should be, one pass after the other, whenever anything has changed:
 *
 * 1. Decide the next members of each group and commit them, a generation further: first what follows from what has become of
 *    stores (placement/next-members.ts), then, if there is nothing of that, what copies are to be made or moved (moves.ts). A member in
 *    sync that may be serving is made to stop before the group goes on without it (departures.ts).
 * 2. Tell the stores that are online. Until the remaining in-sync members know a new generation, no write can be
 *    acknowledged in it. A store that doesn't take it is cut off, and leaves its groups when its time has run out.
 * 3. Tell the clients. Those that miss it meet an unknown generation at a store, and ask.
 * 4. Tell members that are catching up to begin, once they and their source know the generation: then every write
 *    that the source takes from now on goes to them too.
 *
 * A pass decides from committed groups and from the stores' conditions alone. So nothing is lost when this process dies
 * between two steps: the next leader finds the same work.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { errno } from "../errors/errno.ts";
import { messageOf } from "../errors/message.ts";
import type { GroupMember, GroupRecord } from "../namespace/model.ts";
import { chooseGroups, groupsPerVolume } from "../placement/choose-groups.ts";
import { mayHold, spreadOf } from "../placement/failure-domains.ts";
import { nextMembers, type StoreFacts, type StoreLoss } from "../placement/next-members.ts";
import type { Move } from "../placement/plan-moves.ts";
import { type GroupView, groupsChanged } from "../wire/catalogue/leader.ts";
import { setGroups } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import { CatchUpStarts } from "./catch-up-starts.ts";
import { Departures } from "./departures.ts";
import { Healing } from "./healing.ts";
import type { Leader } from "./leader.ts";
import { Losses } from "./losses.ts";
import { Moves } from "./moves.ts";
import { Salvage } from "./salvage.ts";
import type { Stores } from "./stores.ts";

/** Groups in one message to a store or a client: the bound of the catalogue. */
const viewsMax = 8192;

/** What the groups of a pool have in common. */
export type PoolWish = Pick<GroupRecord, "replicas" | "labels" | "failureDomain">;

export interface GroupsParts {
  readonly leader: Leader;
  readonly stores: Stores;
  /** Connections of all clients. */
  readonly clients: () => Peer[];
}

export class Groups {
  readonly #leader: Leader;
  readonly #stores: Stores;
  readonly #clients: () => Peer[];
  readonly moves: Moves;
  readonly #departures: Departures;
  readonly #healing: Healing;
  readonly salvage: Salvage;
  readonly #catchUps: CatchUpStarts;
  #isLookPlanned = false;
  #mustLook = false;
  #running = false;
  #idleWaiters: (() => void)[] = [];
  /** Generation of each group that a store says it has caught up in, by store. */
  readonly #caughtUp = new Map<number, Map<number, number>>();
  /** Catching-up stores that failed to take a write. */
  readonly #missedWrite = new Set<number>();
  readonly #losses = new Losses();
  readonly #rejoinAfterMs = new Map<number, number>();
  /** What clients were told: generation and addresses of each group. */
  readonly #announced = new Map<number, string>();

  constructor(parts: GroupsParts) {
    this.#leader = parts.leader;
    this.#stores = parts.stores;
    this.#clients = parts.clients;
    this.moves = new Moves(parts.leader, parts.stores);
    this.#departures = new Departures(parts.leader, parts.stores);
    this.#healing = new Healing(parts.leader, parts.stores);
    const { leader, stores } = parts;
    const lookLater = () => this.#lookLater();
    const caughtUp = this.caughtUp.bind(this);
    this.salvage = new Salvage({ leader, stores, planned: () => this.moves.planned(), caughtUp, lookLater });
    this.#catchUps = new CatchUpStarts({ leader, stores, salvage: this.salvage, lookLater });
  }

  start(): void {
    for (const view of this.views()) this.#announced.set(view.group, fingerprint(view));
    this.look();
  }

  /** Something may have changed. */
  look(): void {
    this.#mustLook = true;
    if (!this.#running) this.#leader.lifetime.run("groups", () => this.#run());
  }

  /** Resolves when all that follows from what is known now is done. */
  settled(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  group(group: number): GroupRecord | undefined {
    return this.#leader.namespace.groups().find((one) => one.group === group);
  }

  /** All groups, or those of a store, and others that it knows. */
  views(store?: number, known: ReadonlySet<number> = new Set()): GroupView[] {
    const addresses = new Map(this.#stores.all().map((one) => [one.store, one.address]));
    const groups = this.#leader.namespace.groups();
    const wanted = store === undefined ? groups : groups.filter((one) => hasMember(one, store) || known.has(one.group));
    return wanted.map(({ group, generation, members }) => ({
      group,
      generation,
      members: members.map((member) => ({ ...member, address: addresses.get(member.store) ?? "" })),
    }));
  }

  /** A store has what its source has. Refused silently if the group has changed since: it is told to begin again. */
  caughtUp(store: number, group: number, generation: number): void {
    let groups = this.#caughtUp.get(store);
    if (groups === undefined) {
      groups = new Map();
      this.#caughtUp.set(store, groups);
    }
    groups.set(group, generation);
    this.look();
  }

  /** True if clients write to the store in any group. */
  isInUse(store: number): boolean {
    return this.#leader.namespace
      .groups()
      .some((group) => stateIn(group, store) !== "behind" && hasMember(group, store));
  }

  /** A client could not write to a store that catches up: it has to begin again from what is known to be there. */
  async missedWrite(store: number): Promise<void> {
    const { namespace, lifetime, timeouts, log } = this.#leader;
    const isCatchingUp = () => namespace.groups().some((group) => stateIn(group, store) === "catchingUp");
    if (!isCatchingUp()) return;
    log.warn("catch-up ends: the store missed a write", { store });
    this.#rejoinAfterMs.set(store, lifetime.nowMs() + timeouts.catchUpRetryMs);
    this.#missedWrite.add(store);
    while (isCatchingUp() && !lifetime.stopped) {
      this.look();
      await this.settled();
      if (isCatchingUp()) await lifetime.sleep(timeouts.retryMs);
    }
    this.#missedWrite.delete(store);
    lifetime.startTimer(timeouts.catchUpRetryMs, () => this.look());
  }

  /**
   * A store says what it has lost. Resolves when it has left the groups in which others know better; with the groups in which
   * it still matters. Errors: closed (the connection on which it says so, to register, has ended meanwhile).
   */
  async hasLost(store: number, loss: StoreLoss, peer: Peer): Promise<readonly number[]> {
    const { namespace, lifetime, timeouts } = this.#leader;
    this.#losses.tell(store, loss, namespace.groups());
    const mustLeave = (group: GroupRecord) =>
      stateIn(group, store) === "inSync" &&
      nextMembers(group, this.#facts())?.find((member) => member.store === store)?.state === "behind";
    await this.#departures.whileRegistering(store, peer, async () => {
      while (namespace.groups().some(mustLeave) && !peer.closed && !lifetime.stopped) {
        this.look();
        await this.settled();
        if (namespace.groups().some(mustLeave)) await lifetime.sleep(timeouts.retryMs);
      }
    });
    if (peer.closed) throw new BrineError("closed", "the connection has ended");
    return this.#losses.left(store, namespace.groups());
  }

  /** The loss is accepted: what the store has is all that there is. */
  acceptLoss(store: number): void {
    this.#losses.tell(store, "none", []);
  }

  /** Members for the groups of a new pool. Errors: invalid (too few stores with the labels that take groups and are online). */
  choose({ replicas, labels, failureDomain }: PoolWish): GroupMember[][] {
    const takes = this.moves.planned().filter(({ role }) => role === "takes");
    const fitting = new Map(
      takes.filter((store) => mayHold(store, { labels, failureDomain })).map((one) => [one.store, one]),
    );
    const spread = (stores: readonly number[]) =>
      spreadOf(
        stores.map((store) => fitting.get(store)!),
        failureDomain,
      );
    return chooseGroups(
      [...fitting.keys()],
      replicas,
      groupsPerVolume,
      (store, members) => -spread([...members, store]),
    );
  }

  /** Resolves when the stores know the groups that were made. */
  made(): Promise<void> {
    this.look();
    return this.settled();
  }

  // --- passes ---

  #run(): Promise<void> {
    return this.#alone(async () => {
      while (this.#mustLook && !this.#leader.lifetime.stopped) {
        this.#mustLook = false;
        await this.#pass();
      }
    });
  }

  /** Does something between two passes: meanwhile no group changes, and no store is taken in. A look follows. */
  async between<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running) await this.settled();
    try {
      return await this.#alone(work);
    } finally {
      this.look();
    }
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    this.#running = true;
    try {
      return await work();
    } finally {
      this.#running = false;
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
    }
  }

  async #pass(): Promise<void> {
    const { lifetime } = this.#leader;
    if (await this.#commitChanges()) this.#mustLook = true;
    if (lifetime.stopped) return;
    await Promise.all(this.#stores.all().map(({ store }) => this.#tellStore(store)));
    if (lifetime.stopped) return;
    this.#tellClients();
    await this.#catchUps.begin();
    this.#watchHealing();
  }

  /** How far the making of copies is, as of this moment. */
  healingNow(): ReturnType<Healing["status"]> {
    this.#healing.noticed(this.moves.missing);
    return this.#healing.status();
  }

  /** While copies are missing it is looked at again and again: stores are waited for only for so long, and fill up. */
  #watchHealing(): void {
    const { missing } = this.moves;
    this.#healing.noticed(missing);
    if (missing === 0 || this.#isLookPlanned) return;
    this.#isLookPlanned = true;
    this.#leader.lifetime.startTimer(this.#leader.timeouts.catchUpRetryMs, () => {
      this.#isLookPlanned = false;
      this.look();
    });
  }

  /** True if anything was committed. */
  async #commitChanges(): Promise<boolean> {
    this.#losses.prune(this.#leader.namespace.groups());
    const changes = await this.#nextChanges();
    if (this.#leader.lifetime.stopped) return false;
    const committed = await Promise.all(changes.map((change) => this.#commitChange(change.group, change.members)));
    this.#logChanges(changes.filter((_, index) => committed[index]));
    return committed.includes(true);
  }

  /** What can be committed now. */
  async #nextChanges(): Promise<Move[]> {
    const changed = this.#changedByStores();
    if (changed.length > 0) {
      const leaversOf = ({ group, leaving }: Move) => `${group.group}: ${leaving.join(" ")}`;
      const ready = new Set((await this.#departures.before(changed)).map(leaversOf));
      // While they were told to stop, the member that knows better may have gone: what was decided is looked at again.
      return this.#changedByStores().filter((move) => ready.has(leaversOf(move)));
    }
    // Only then what is merely to be moved.
    const moves = this.moves.next();
    this.#departures.takeBackOthers(moves);
    return this.#departures.before(moves);
  }

  #changedByStores(): Move[] {
    const facts = this.#facts();
    return this.#leader.namespace.groups().flatMap((group) => {
      const members = nextMembers(group, facts);
      if (members === undefined) return [];
      const mayServe = ({ store }: GroupMember) => stateIn(group, store) === "inSync" && !this.#stores.isStill(store);
      const leaving = members.filter((member) => member.state !== "inSync" && mayServe(member));
      return [{ group, members, leaving: leaving.map(({ store }) => store) }];
    });
  }

  #facts(): StoreFacts {
    const nowMs = this.#leader.lifetime.nowMs();
    return {
      condition: (store) => this.#stores.condition(store),
      hasCaughtUp: (store, group) => this.#caughtUp.get(store)?.get(group.group) === group.generation,
      hasMissedWrite: (store) => this.#missedWrite.has(store),
      loss: (store, { group }) => this.#losses.of(store, group),
      mayRejoin: (store) => nowMs >= (this.#rejoinAfterMs.get(store) ?? 0),
    };
  }

  async #commitChange({ group, generation }: GroupRecord, members: GroupMember[]): Promise<boolean> {
    const { committer, log } = this.#leader;
    try {
      const result = await committer.execute({ kind: "changeGroup", group, generation, members });
      if (result.kind === "done") return true;
      if (result.kind !== "failed" || result.errno !== errno.ESTALE) {
        log.error("a change of a group was refused", { group, generation, result: JSON.stringify(result) });
      }
    } catch (error) {
      if (!hasCode(error, "noSpace", "busy", "notServing")) throw error;
      log.warn("a change of a group has to wait", { group, reason: error.message });
      this.#lookLater();
    }
    return false;
  }

  #logChanges(changes: readonly { group: GroupRecord; members: GroupMember[] }[]): void {
    const counts = new Map<string, number>();
    for (const { group, members } of changes) {
      for (const store of new Set([...group.members, ...members].map((member) => member.store))) {
        const before = stateIn(group, store) ?? "no member";
        const after = members.find((member) => member.store === store)?.state ?? "no member";
        if (before === after) continue;
        const what = `store ${store}: ${before} → ${after}`;
        counts.set(what, (counts.get(what) ?? 0) + 1);
      }
    }
    for (const [what, groups] of counts) this.#leader.log.info("members changed", { what, groups });
  }

  /** Never rejects: a store that doesn't take its groups is cut off. */
  async #tellStore(store: number): Promise<void> {
    const peer = this.#stores.peer(store);
    const state = this.#stores.get(store);
    if (peer === undefined || state === undefined) return;
    // Also of those groups that have gone on without it.
    const known = new Set(state.generations.keys());
    const news = this.views(store, known).filter((view) => state.generations.get(view.group) !== view.generation);
    if (news.length === 0) return;
    try {
      const views = news.slice(0, viewsMax);
      await peer.request(setGroups, { views }, { timeoutMs: this.#leader.timeouts.setGroupsMs, urgent: true });
      if (state.peer !== peer) return;
      for (const { group, generation, members } of views) {
        if (members.some((member) => member.store === store)) state.generations.set(group, generation);
        else state.generations.delete(group);
      }
    } catch (error) {
      if (!this.#leader.lifetime.stopped)
        this.#stores.revoke(store, peer, `its groups were not taken: ${messageOf(error)}`);
    }
  }

  #tellClients(): void {
    const news = this.views().filter((view) => this.#announced.get(view.group) !== fingerprint(view));
    if (news.length === 0) return;
    for (const view of news) this.#announced.set(view.group, fingerprint(view));
    const timeoutMs = this.#leader.timeouts.clientAnswerMs;
    for (const peer of this.#clients()) {
      // A client that misses it asks when it meets the new generation.
      peer.request(groupsChanged, { views: news }, { timeoutMs, urgent: true }).catch(() => {});
    }
  }

  #lookLater(): void {
    this.#leader.lifetime.startTimer(this.#leader.timeouts.retryMs, () => this.look());
  }
}

function hasMember(group: GroupRecord, store: number): boolean {
  return group.members.some((member) => member.store === store);
}

function stateIn(group: GroupRecord, store: number): GroupMember["state"] | undefined {
  return group.members.find((member) => member.store === store)?.state;
}

function fingerprint(view: GroupView): string {
  return `${view.generation} ${view.members.map((member) => member.address).join(" ")}`;
}
