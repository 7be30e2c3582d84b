/**
 * Which copies are made, and which are given up, so that each group has as many as it should, on stores that stay.
 *
 * The problem: a store is lost, emptied or added while clients write. A copy is made by a member that joins and catches up
 * (next-members.ts), which takes minutes; meanwhile other stores may fail and this leader may be followed by another one.
 * A plan made once would be wrong before it is done. So there is none: from the groups as committed and the stores as they
 * are, this says what is to be done next, and is asked again after every change.
 *
 * Of each group the *wanted* members are those on stores that stay, and have the labels that its placement rule asks for. In this
 * order:
 *
 * 1. Fewer wanted than copies asked for: other stores join. They are those with the fewest groups of the pool, in failure domains
 *    (racks, hosts) that have no copy yet if there are. A store copies a few groups at a time: their catch-ups would only wait for
 *    each other.
 * 2. A member that isn't in sync, on a store that is lost or leaves, goes as soon as somebody has its place. Until then it stays: if
 *    its store comes back after all, it has less to catch up on than a new one.
 * 3. A member in sync on a store that leaves goes when enough of the others are in sync.
 * 4. More wanted than copies asked for, all in sync: of those whose going leaves the most failure domains, the one on the fullest
 *    store goes. Never because it isn't in sync: that would send away who has just come.
 * 5. Nothing of this is to be done in any group of the pool: a copy moves from the fullest store to the emptiest, if
 *    they differ by two groups at least; or away from a domain that has two copies, while another one has none. It moves by
 *    1 and 4: it joins there, and when it is in sync, the surplus goes.
 *
 * The last member in sync goes nowhere. 5 moves nothing back and forth: it makes domains more, or loads more equal, and 4 undoes
 * neither.
 */
import type { GroupMember, GroupRecord } from "../namespace/model.ts";
import { mayHold, type StorePlace, spreadMax, spreadOf } from "./failure-domains.ts";
import { Loads } from "./loads.ts";

/**
 * takes: it may get copies. spare: only those that are missing. keeps: it is away for a while, or full: what it has stays
 * there. leaves: it is being emptied. lost: nobody waits for it any more. removed: it never comes back.
 */
export type StoreRole = "takes" | "spare" | "keeps" | "leaves" | "lost" | "removed";

export interface PlannedStore extends StorePlace {
  readonly store: number;
  readonly role: StoreRole;
  readonly online: boolean;
}

export interface Move {
  readonly group: GroupRecord;
  readonly members: GroupMember[];
  /** In sync so far: they must have stopped serving the group before it goes on without them. */
  readonly leaving: readonly number[];
}

/** A store's catch-ups at the same time: more than it works on at once, so that it never waits for the leader. */
export const joinsMax = 6;

/** @param groups all of them. @param isBusy groups that wait for another change */
export function planMoves(
  groups: readonly GroupRecord[],
  stores: readonly PlannedStore[],
  isBusy: (group: GroupRecord) => boolean = () => false,
): Move[] {
  const planner = new Planner(groups, stores);
  const moves = groups.flatMap((group) => (isBusy(group) ? [] : (planner.complete(group) ?? [])));
  const pools = Map.groupBy(groups, poolOf);
  for (const move of moves) pools.delete(poolOf(move.group));
  for (const own of pools.values()) {
    if (own.every((group) => !isBusy(group) && planner.isAtRest(group))) moves.push(...planner.balance(own));
  }
  return moves;
}

function poolOf({ volume, pool }: GroupRecord): string {
  return `${volume} ${pool}`;
}

/** Copies of a group that are still to be made: on stores that stay and may hold it, in sync. */
export function copiesMissing(group: GroupRecord, storeOf: (store: number) => PlannedStore | undefined): number {
  const isGood = (store: PlannedStore | undefined) => store !== undefined && stays(roleIn(group, store));
  const good = group.members.filter(({ store, state }) => state === "inSync" && isGood(storeOf(store)));
  const coming = group.members.filter(({ state }) => state !== "inSync");
  return Math.max(group.replicas - good.length, coming.length, 0);
}

/** Stores that are making their copy of the group. */
export function copiesUnderWay(group: GroupRecord): number[] {
  return group.members.filter(({ state }) => state === "catchingUp").map(({ store }) => store);
}

class Planner {
  readonly #stores: ReadonlyMap<number, PlannedStore>;
  readonly #loads: Loads;

  constructor(groups: readonly GroupRecord[], stores: readonly PlannedStore[]) {
    this.#stores = new Map(stores.map((store) => [store.store, store]));
    this.#loads = new Loads(groups);
  }

  /** Rules 1 to 4. */
  complete(group: GroupRecord): Move | undefined {
    let members = [...group.members];
    if (this.#hasSource(group)) members = this.#join(group, members);
    members = this.#dropUseless(group, members);
    members = this.#dropLeaving(group, members);
    members = this.#dropSurplus(group, members);
    return this.#move(group, members);
  }

  isAtRest(group: GroupRecord): boolean {
    const isSettled = ({ store, state }: GroupMember) => state === "inSync" && stays(this.#role(group, store));
    return group.members.length === group.replicas && group.members.every(isSettled);
  }

  /** Rule 5, for the groups of one pool. */
  balance(groups: readonly GroupRecord[]): Move[] {
    const targets = [...this.#stores.values()].filter((store) => roleIn(groups[0]!, store) === "takes");
    const moves: Move[] = [];
    const moved = new Set<number>();
    for (;;) {
      const step = this.#spreadOut(groups, targets, moved) ?? this.#levelLoads(groups, targets, moved);
      if (step === undefined) return moves;
      const { group, from, to } = step;
      moved.add(group.group);
      this.#loads.leave(group, from);
      moves.push(this.#move(group, this.#joined(group, [...group.members], to))!);
    }
  }

  // --- rules 1 to 4 ---

  #join(group: GroupRecord, present: GroupMember[]): GroupMember[] {
    let members = present;
    while (this.#wanted(group, members).length < group.replicas) {
      const to = this.#joiner(group, members);
      if (to === undefined) return members;
      members = this.#joined(group, members, to);
    }
    return members;
  }

  #joiner(group: GroupRecord, members: readonly GroupMember[]): number | undefined {
    const wanted = this.#wanted(group, members);
    const candidates = [...this.#stores.values()].filter((store) => {
      const role = roleIn(group, store);
      const mayJoin = store.online && (role === "takes" || role === "spare");
      return mayJoin && !isIn(members, store.store) && this.#loads.joins(store.store) < joinsMax;
    });
    const others = members.map(({ store }) => store);
    return lowest(candidates, ({ store }) => [
      -this.#spread(group, [...wanted, { store }]),
      this.#loads.of(group, store),
      this.#loads.total(store),
      this.#loads.shared(store, others),
      store,
    ])?.store;
  }

  #dropUseless(group: GroupRecord, members: GroupMember[]): GroupMember[] {
    const isReplaced = this.#wanted(group, members).length >= group.replicas;
    return members.filter(({ store, state }) => {
      const role = this.#role(group, store);
      if (state === "inSync" || stays(role) || !(isReplaced || role === "removed")) return true;
      this.#loads.leave(group, store);
      return false;
    });
  }

  #dropLeaving(group: GroupRecord, members: GroupMember[]): GroupMember[] {
    if (this.#wanted(group, members).filter(isInSync).length < group.replicas) return members;
    return members.filter(({ store }) => {
      if (stays(this.#role(group, store))) return true;
      this.#loads.leave(group, store);
      return false;
    });
  }

  #dropSurplus(group: GroupRecord, present: GroupMember[]): GroupMember[] {
    let members = present;
    for (;;) {
      const wanted = this.#wanted(group, members);
      if (wanted.length <= group.replicas) return members;
      const away = wanted.find((member) => !isInSync(member) && this.#stores.get(member.store)?.online !== true);
      if (away === undefined && !wanted.every(isInSync)) return members;
      const leaver = away ?? this.#leaver(group, wanted);
      this.#loads.leave(group, leaver.store);
      members = members.filter((member) => member !== leaver);
    }
  }

  #leaver(group: GroupRecord, wanted: readonly GroupMember[]): GroupMember {
    return lowest(wanted, (member) => {
      const others = wanted.filter((other) => other !== member);
      return [
        -this.#spread(group, others),
        -this.#loads.of(group, member.store),
        -this.#loads.total(member.store),
        -member.store,
      ];
    })!;
  }

  // --- rule 5 ---

  #spreadOut(
    groups: readonly GroupRecord[],
    targets: readonly PlannedStore[],
    moved: ReadonlySet<number>,
  ): Step | undefined {
    const { failureDomain } = groups[0]!;
    for (const group of groups) {
      const spread = this.#spread(group, group.members);
      if (moved.has(group.group) || spread >= spreadMax(targets, failureDomain, group.replicas)) continue;
      const free = targets.filter(({ store }) => !isIn(group.members, store) && this.#canTakeOne(store));
      const steps = free.flatMap((to) => group.members.map((from) => ({ group, from: from.store, to: to.store })));
      const better = steps.filter(({ from, to }) => this.#spread(group, exchanged(group, from, to)) > spread);
      const step = lowest(better, ({ from, to }) => [
        -this.#spread(group, exchanged(group, from, to)),
        this.#loads.of(group, to),
        to,
        from,
      ]);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  #levelLoads(
    groups: readonly GroupRecord[],
    targets: readonly PlannedStore[],
    moved: ReadonlySet<number>,
  ): Step | undefined {
    const load = (store: number) => this.#loads.of(groups[0]!, store);
    const byLoad = targets.map(({ store }) => store).sort((left, right) => load(left) - load(right) || left - right);
    for (const to of byLoad) {
      if (!this.#canTakeOne(to)) continue;
      for (const from of [...byLoad].reverse()) {
        if (load(from) - load(to) < 2) break;
        const group = groups.find((one) => !moved.has(one.group) && this.#fits(one, from, to));
        if (group !== undefined) return { group, from, to };
      }
    }
    return undefined;
  }

  #fits(group: GroupRecord, from: number, to: number): boolean {
    if (!isIn(group.members, from) || isIn(group.members, to)) return false;
    return this.#spread(group, exchanged(group, from, to)) >= this.#spread(group, group.members);
  }

  #canTakeOne(store: number): boolean {
    return this.#stores.get(store)!.online && this.#loads.joins(store) < joinsMax;
  }

  // --- members ---

  #joined(group: GroupRecord, members: readonly GroupMember[], store: number): GroupMember[] {
    this.#loads.join(group, store);
    return [...members, { store, state: "catchingUp" }];
  }

  #move(group: GroupRecord, members: GroupMember[]): Move | undefined {
    const gone = group.members.filter(({ store }) => !isIn(members, store));
    if (gone.length === 0 && members.length === group.members.length) return undefined;
    return { group, members, leaving: gone.filter(isInSync).map(({ store }) => store) };
  }

  #hasSource(group: GroupRecord): boolean {
    return group.members.some((member) => isInSync(member) && this.#stores.get(member.store)?.online === true);
  }

  #wanted(group: GroupRecord, members: readonly GroupMember[]): GroupMember[] {
    return members.filter(({ store }) => stays(this.#role(group, store)));
  }

  #role(group: GroupRecord, store: number): StoreRole {
    const known = this.#stores.get(store);
    return known === undefined ? "keeps" : roleIn(group, known);
  }

  #spread({ failureDomain }: GroupRecord, members: readonly { readonly store: number }[]): number {
    const places = members.flatMap(({ store }) => this.#stores.get(store) ?? []);
    return spreadOf(places, failureDomain);
  }
}

/** A store without the labels that a group asks for is to give it up, as if it were being emptied. */
export function roleIn(group: GroupRecord, store: PlannedStore): StoreRole {
  return stays(store.role) && !mayHold(store, group) ? "leaves" : store.role;
}

function exchanged({ members }: GroupRecord, from: number, to: number): { store: number }[] {
  return members.map(({ store }) => ({ store: store === from ? to : store }));
}

interface Step {
  readonly group: GroupRecord;
  readonly from: number;
  readonly to: number;
}

/** It keeps what it has, or takes more. */
export function stays(role: StoreRole): boolean {
  return role === "takes" || role === "spare" || role === "keeps";
}

function isInSync({ state }: GroupMember): boolean {
  return state === "inSync";
}

function isIn(members: readonly GroupMember[], store: number): boolean {
  return members.some((member) => member.store === store);
}

/** The candidate with the lowest figures, compared one after the other. */
function lowest<T>(candidates: readonly T[], figures: (candidate: T) => readonly number[]): T | undefined {
  let best: { candidate: T; figures: readonly number[] } | undefined;
  for (const candidate of candidates) {
    const own = figures(candidate);
    const difference =
      best === undefined ? -1 : own.map((figure, at) => figure - best!.figures[at]!).find((one) => one !== 0);
    if (difference !== undefined && difference < 0) best = { candidate, figures: own };
  }
  return best?.candidate;
}
