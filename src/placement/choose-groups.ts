/**
 * Which stores form the groups of a volume.
 *
 * Each store should be in equally many groups, so that all fill alike, and each pair of stores too, so that what a lost
 * store held is copied from all the others to all the others. A full design of blocks does not exist for most numbers;
 * taking each time the store that is in the fewest groups keeps the difference between any two at most 1, and among
 * those the one that shares the fewest groups with the members so far keeps pairs nearly even.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { GroupMember } from "../namespace/model.ts";

/** Groups of a volume to begin with: enough to spread a rebuild over all stores of a cluster of this slice's size. */
export const groupsPerVolume = 32;

/**
 * Members of `count` groups of `replicas` different stores, all in sync, for a volume that has none yet. The same stores
 * give the same groups, in whatever order they come. Members stand in turn at the first place, which is read first.
 * Errors: BrineError invalid if there are fewer stores than replicas.
 *
 * @param nearness of a store to those that are members already: the lower, the better, before anything else
 */
export function chooseGroups(
  stores: readonly number[],
  replicas: number,
  count: number,
  nearness: (store: number, members: readonly number[]) => number = () => 0,
): GroupMember[][] {
  if (replicas < 1) throw new BrineError("invalid", `a group needs members, not ${replicas}`);
  if (stores.length < replicas) {
    throw new BrineError("invalid", `${replicas} replicas need as many stores, there are ${stores.length}`, {
      advice: "start more servers with the store role, or ask for fewer replicas",
    });
  }
  const tally = new Tally(
    [...new Set(stores)].sort((left, right) => left - right),
    nearness,
  );
  return Array.from({ length: count }, () => tally.nextGroup(replicas));
}

/** How often each store, each pair and each first place was taken. */
class Tally {
  readonly #stores: readonly number[];
  readonly #nearness: (store: number, members: readonly number[]) => number;
  readonly #groups = new Map<number, number>();
  readonly #firstPlaces = new Map<number, number>();
  readonly #pairs = new Map<string, number>();

  constructor(stores: readonly number[], nearness: (store: number, members: readonly number[]) => number) {
    this.#stores = stores;
    this.#nearness = nearness;
  }

  nextGroup(replicas: number): GroupMember[] {
    const members: number[] = [];
    while (members.length < replicas) members.push(this.#nextMember(members));
    for (const member of members) {
      add(this.#groups, member);
      for (const other of members) if (member < other) add(this.#pairs, `${member} ${other}`);
    }
    const first = lowest(members, (store) => [this.#firstPlaces.get(store) ?? 0]);
    add(this.#firstPlaces, first);
    const ordered = [first, ...members.filter((store) => store !== first)];
    return ordered.map((store) => ({ store, state: "inSync" }));
  }

  #nextMember(members: readonly number[]): number {
    const candidates = this.#stores.filter((store) => !members.includes(store));
    return lowest(candidates, (store) => [
      this.#nearness(store, members),
      this.#groups.get(store) ?? 0,
      this.#shared(store, members),
    ]);
  }

  /** Groups that a store shares with these members. */
  #shared(store: number, members: readonly number[]): number {
    let shared = 0;
    for (const member of members) {
      shared += this.#pairs.get(`${Math.min(store, member)} ${Math.max(store, member)}`) ?? 0;
    }
    return shared;
  }
}

/** The candidate with the lowest figures, compared one after the other; the first of equals. */
function lowest(candidates: readonly number[], figures: (store: number) => readonly number[]): number {
  let best: { store: number; figures: readonly number[] } | undefined;
  for (const store of candidates) {
    const own = figures(store);
    if (best === undefined || isLower(own, best.figures)) best = { store, figures: own };
  }
  if (best === undefined) throw new Error("no candidate is left");
  return best.store;
}

function isLower(left: readonly number[], right: readonly number[]): boolean {
  for (const [at, figure] of left.entries()) {
    if (figure !== right[at]) return figure < right[at]!;
  }
  return false;
}

function add<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
