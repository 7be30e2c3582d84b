/** Copies come and go until every group has what it should, and no further; the last one in sync never goes. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { GroupMember, GroupRecord, Label, MemberState } from "../namespace/model.ts";
import { chooseGroups } from "./choose-groups.ts";
import { domainCount, mayHold, spreadMax, spreadOf } from "./failure-domains.ts";
import { joinsMax, type Move, type PlannedStore, planMoves, type StoreRole } from "./plan-moves.ts";

function store(
  number: number,
  role: StoreRole = "takes",
  host = `host ${number}`,
  labels: Record<string, string> = {},
): PlannedStore {
  const online = role !== "lost" && role !== "removed";
  return { store: number, role, online, host, labels: labelled(labels) };
}

function labelled(labels: Record<string, string>): Label[] {
  return Object.entries(labels).map(([key, value]) => ({ key, value }));
}

function groupsOn(stores: readonly number[], replicas: number, count = 32): GroupRecord[] {
  const of = { volume: 1, pool: 0, replicas, labels: [], failureDomain: "host", generation: 1, nextNumber: 0 };
  return chooseGroups(stores, replicas, count).map((members, at) => ({ ...of, group: at + 1, members }));
}

function withState(groups: readonly GroupRecord[], of: number, state: MemberState): GroupRecord[] {
  return groups.map((group) => ({
    ...group,
    members: group.members.map((member) => (member.store === of ? { store: of, state } : member)),
  }));
}

/** Does what is planned, and lets all that join catch up, until nothing is left to do. */
function settle(groups: readonly GroupRecord[], stores: readonly PlannedStore[]) {
  let present = [...groups];
  let joined = 0;
  for (let round = 0; round < 500; round++) {
    const moves = planMoves(present, stores);
    if (moves.length === 0) return { groups: present, joined };
    for (const move of moves) {
      checkMove(move);
      joined += move.members.filter(({ store }) => !has(move.group.members, store)).length;
    }
    const next = new Map(moves.map((move) => [move.group.group, move.members]));
    present = present.map((group) => ({ ...group, members: next.get(group.group) ?? group.members }));
    for (const { store, online } of stores) {
      const joining = present.filter((group) =>
        group.members.some((member) => member.store === store && member.state === "catchingUp"),
      );
      assert.ok(joining.length <= joinsMax);
      if (online)
        present = present.map((group) => ({
          ...group,
          members: group.members.map((member) => caughtUp(member, store)),
        }));
    }
  }
  return assert.fail("it never ends");
}

function caughtUp(member: GroupMember, store: number): GroupMember {
  return member.store === store && member.state === "catchingUp" ? { store, state: "inSync" } : member;
}

function checkMove({ group, members, leaving }: Move): void {
  const inSync = members.filter(({ state }) => state === "inSync");
  assert.ok(inSync.length > 0, "somebody in sync stays");
  assert.ok(leaving.length === 0 || inSync.length >= group.replicas, "who leaves is replaced before");
  for (const { store, state } of members) {
    const before = group.members.find((member) => member.store === store)?.state;
    assert.equal(state, before ?? "catchingUp");
  }
}

function has(members: readonly GroupMember[], store: number): boolean {
  return members.some((member) => member.store === store);
}

function loadsOf(groups: readonly GroupRecord[], stores: readonly number[]): number[] {
  return stores.map((store) => groups.filter(({ members }) => has(members, store)).length);
}

test("all is well: nothing moves", () => {
  assert.deepEqual(planMoves(groupsOn([1, 2, 3], 2), [store(1), store(2), store(3), store(4, "spare")]), []);
});

test("a lost store's copies are made on all others; where it is the only one in sync, it is waited for", () => {
  const groups = withState(groupsOn([1, 2, 3, 4], 2), 4, "behind");
  const only = { ...groups[0]!, group: 99, members: [{ store: 4, state: "inSync" as const }], replicas: 1 };
  const end = settle([...groups, only], [store(1), store(2), store(3), store(4, "lost")]);
  assert.deepEqual(end.groups.at(-1)!.members, only.members);
  const loads = loadsOf(end.groups, [1, 2, 3]);
  assert.equal(
    loads.reduce((sum, load) => sum + load),
    64,
  );
  assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, `${loads}`);
  assert.equal(end.joined, 16, "only what was lost is copied");
});

test("with nobody to take its place, a lost store's member stays for its return, a removed store's doesn't", () => {
  const groups = withState(groupsOn([1, 2], 2), 2, "behind");
  assert.deepEqual(planMoves(groups, [store(1), store(2, "lost")]), []);
  const { groups: end } = settle(groups, [store(1), store(2, "removed")]);
  assert.deepEqual(loadsOf(end, [1, 2]), [32, 0]);
});

test("a spare takes what is missing, and no more", () => {
  const groups = withState(groupsOn([1, 2], 2), 2, "behind");
  const { groups: end, joined } = settle(groups, [store(1), store(2, "lost"), store(3, "spare")]);
  assert.deepEqual(loadsOf(end, [1, 2, 3]), [32, 0, 32]);
  assert.equal(joined, 32);
});

test("an added store gets its share, and nothing moves between the others", () => {
  const { groups, joined } = settle(
    groupsOn([1, 2, 3], 2),
    [1, 2, 3, 4].map((number) => store(number)),
  );
  assert.deepEqual(loadsOf(groups, [1, 2, 3, 4]), [16, 16, 16, 16]);
  assert.equal(joined, 16);
});

test("a draining store is emptied, if there is room elsewhere", () => {
  const { groups } = settle(groupsOn([1, 2, 3], 2), [store(1), store(2), store(3, "leaves")]);
  assert.deepEqual(loadsOf(groups, [1, 2, 3]), [32, 32, 0]);
  assert.deepEqual(planMoves(groupsOn([1, 2], 2), [store(1), store(2, "leaves")]), []);
});

test("copies come and go with the number that is asked for: 1, 2, 3, 2", () => {
  const stores = [1, 2, 3].map((number) => store(number));
  let groups = groupsOn([1], 1);
  for (const replicas of [2, 3, 2]) {
    groups = settle(
      groups.map((group) => ({ ...group, replicas })),
      stores,
    ).groups;
    assert.ok(groups.every(({ members }) => members.length === replicas));
    const loads = loadsOf(groups, [1, 2, 3]);
    assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, `${loads}`);
  }
});

test("copies go to different hosts, also those that are there already", () => {
  const stores = [store(1, "takes", "a"), store(2, "takes", "a"), store(3, "takes", "b"), store(4, "takes", "b")];
  const { groups } = settle(groupsOn([1, 2], 2), stores);
  for (const { members } of groups) assert.equal(members.filter((member) => member.store <= 2).length, 1);
});

test("a member that has not caught up is no reason to let another go", () => {
  const groups = withState(groupsOn([1, 2, 3], 3), 3, "catchingUp").map((group) => ({ ...group, replicas: 2 }));
  assert.deepEqual(planMoves(groups, [store(1), store(2), store(3)]), []);
});

test("copies go to different racks if labels say so, and in a rack to different hosts", () => {
  const place = (number: number, rack: string, host: string) => store(number, "takes", host, { rack });
  const stores = [place(1, "r1", "a"), place(2, "r1", "a"), place(3, "r1", "b"), place(4, "r2", "c")];
  const groups = groupsOn([1, 2], 2).map((group) => ({ ...group, failureDomain: "rack" }));
  const { groups: end } = settle(groups, stores);
  for (const { members } of end) assert.equal(has(members, 4), true, "one copy is in the other rack");
  const three = settle(
    end.map((group) => ({ ...group, replicas: 3 })),
    stores,
  );
  for (const { members } of three.groups) assert.ok(has(members, 3) && has(members, 4), "and two hosts in the first");
});

test("stores without the label count as one failure domain", () => {
  const stores = [store(1), store(2), store(3, "takes", "c", { rack: "r1" })];
  const groups = groupsOn([1, 2], 2).map((group) => ({ ...group, failureDomain: "rack" }));
  for (const { members } of settle(groups, stores).groups) assert.ok(has(members, 3));
});

test("groups move to stores with the labels that their rule asks for, and wait where there are none", () => {
  const ssd = { disk: "ssd" };
  const groups = groupsOn([1, 2], 2).map((group) => ({ ...group, labels: labelled(ssd) }));
  assert.deepEqual(planMoves(groups, [store(1), store(2)]), [], "nobody has them: all stays as it is");
  const stores = [store(1), store(2, "takes", "b", ssd), store(3, "takes", "c", ssd), store(4, "takes", "d", ssd)];
  const { groups: end, joined } = settle(groups, stores);
  for (const { members } of end) assert.equal(has(members, 1), false);
  assert.equal(joined, 42, "store 1's 32 copies, and 10 of store 2's to make them even: no more");
  assert.deepEqual(loadsOf(end, [2, 3, 4]).sort(), [21, 21, 22]);
});

test("each pool is balanced for itself", () => {
  const ssd = { disk: "ssd" };
  const pool = (number: number) => ({ pool: number, labels: number === 0 ? [] : labelled(ssd) });
  const one = groupsOn([1, 2], 1).map((group) => ({ ...group, ...pool(0) }));
  const other = groupsOn([1, 2], 1).map((group) => ({ ...group, ...pool(1), group: group.group + 100 }));
  const stores = [1, 2, 3, 4].map((number) => store(number, "takes", `${number}`, number > 2 ? ssd : {}));
  const { groups: end } = settle([...one, ...other], stores);
  const ofPool = (number: number) =>
    loadsOf(
      end.filter((group) => group.pool === number),
      [1, 2, 3, 4],
    );
  assert.deepEqual(ofPool(0), [8, 8, 8, 8]);
  assert.deepEqual(ofPool(1), [0, 0, 16, 16]);
});

/** All ways to take so many of them. */
function choices<T>(from: readonly T[], count: number): T[][] {
  if (count === 0) return [[]];
  return from.flatMap((first, at) => choices(from.slice(at + 1), count - 1).map((others) => [first, ...others]));
}

interface Drawn {
  stores: {
    role: StoreRole;
    host: "a" | "b" | "c" | "d" | "e";
    labels: { rack?: "r1" | "r2" | "r3"; disk?: "ssd" | "hdd" };
  }[];
  replicas: number;
  wanted: Record<string, string>;
  failureDomain: "host" | "rack";
}

/** Most racks and most machines can't be had together. */
const machineInTwoRacks: Drawn = {
  stores: [
    { role: "takes", host: "a", labels: { rack: "r2" } },
    { role: "takes", host: "b", labels: { rack: "r2" } },
    { role: "takes", host: "d", labels: {} },
    { role: "takes", host: "d", labels: { rack: "r1" } },
  ],
  replicas: 3,
  wanted: {},
  failureDomain: "rack",
};

/** One machine in two racks, and the third machine's only store that is in none of theirs can come only with another's. */
const twoMovesAway: Drawn = {
  stores: [
    { role: "takes", host: "d", labels: {} },
    { role: "takes", host: "a", labels: { rack: "r2" } },
    { role: "takes", host: "a", labels: { rack: "r1" } },
    { role: "takes", host: "e", labels: {} },
    { role: "takes", host: "e", labels: { rack: "r1" } },
  ],
  replicas: 3,
  wanted: {},
  failureDomain: "rack",
};

/** Each machine stands in one domain. */
function isNested(stores: readonly PlannedStore[], failureDomain: string): boolean {
  const machines = Map.groupBy(stores, ({ host }) => host);
  return [...machines.values()].every((own) => domainCount(own, failureDomain) === 1);
}

test("whatever labels and racks there are: it ends, and no further store has to join then", () => {
  const plannedStore = fc.record({
    role: fc.constantFrom<StoreRole>("takes", "takes", "spare", "leaves"),
    host: fc.constantFrom("a", "b", "c", "d", "e"),
    labels: fc.record(
      { rack: fc.constantFrom("r1", "r2", "r3"), disk: fc.constantFrom("ssd", "hdd") },
      { requiredKeys: [] },
    ),
  });
  const input = fc.record({
    stores: fc.array(plannedStore, { minLength: 1, maxLength: 7 }),
    replicas: fc.integer({ min: 1, max: 3 }),
    wanted: fc.constantFrom<Record<string, string>>({}, { disk: "ssd" }),
    failureDomain: fc.constantFrom("host", "rack"),
  });
  fc.assert(
    fc.property(input, ({ stores: drawn, replicas, wanted, failureDomain }) => {
      const stores = drawn.map(({ role, host, labels }, at) => store(at + 1, role, host, labels));
      const numbers = stores.map(({ store: number }) => number);
      const groups = groupsOn(numbers, Math.min(replicas, numbers.length), 12).map((group) => {
        return { ...group, replicas, failureDomain, labels: labelled(wanted) };
      });
      const usable = stores.filter(
        (one) => one.role !== "leaves" && mayHold(one, { labels: labelled(wanted), failureDomain }),
      );
      const takers = usable.filter(({ role }) => role === "takes");
      for (const { members } of settle(groups, stores).groups) {
        const there = usable.filter((one) => has(members, one.store));
        assert.equal(there.length, Math.min(replicas, usable.length));
        if (usable.length >= replicas) assert.equal(members.length, replicas, "nobody else keeps a copy");
        if (takers.length < usable.length || usable.length < replicas) continue;
        const sets = choices(usable, replicas);
        const best = Math.max(...sets.map((some) => spreadOf(some, failureDomain)));
        assert.ok(best <= spreadMax(usable, failureDomain, replicas));
        const most = Math.max(...sets.map((some) => domainCount(some, failureDomain)));
        assert.equal(domainCount(there, failureDomain), most);
        // Where machines stand in several racks, the most of both may be two moves away, of which the first gains nothing.
        const near = sets.filter((some) => some.filter((one) => !there.includes(one)).length <= 1);
        const reached = isNested(usable, failureDomain) ? sets : near;
        assert.equal(spreadOf(there, failureDomain), Math.max(...reached.map((some) => spreadOf(some, failureDomain))));
      }
    }),
    { numRuns: 1000, examples: [[machineInTwoRacks], [twoMovesAway]] },
  );
});

test("whatever stores there are: it ends, with all copies, balanced, on as many hosts as there are", () => {
  const plannedStore = fc.record({
    role: fc.constantFrom<StoreRole>("takes", "takes", "takes", "spare", "leaves", "lost", "removed"),
    host: fc.constantFrom("a", "b", "c", "d"),
  });
  const input = fc.record({
    stores: fc.array(plannedStore, { minLength: 1, maxLength: 7 }),
    replicas: fc.integer({ min: 1, max: 3 }),
    before: fc.integer({ min: 1, max: 3 }),
    count: fc.integer({ min: 1, max: 20 }),
  });
  fc.assert(
    fc.property(input, ({ stores: drawn, replicas, before, count }) => {
      const stores = drawn.map(({ role, host }, at) => store(at + 1, role, host));
      // One that is lost is behind wherever others are in sync.
      const numbers = stores.map(({ store }) => store);
      let groups = groupsOn(numbers, Math.min(before, numbers.length), count).map((group) => ({ ...group, replicas }));
      groups = groups.map((group) => ({ ...group, members: afterFailures(group.members, stores) }));
      const { groups: end } = settle(groups, stores);
      const takers = stores.filter(({ role }) => role === "takes");
      const usable = stores.filter(({ role }) => role === "takes" || role === "spare");
      for (const { members } of end) {
        if (!members.some((member) => stores[member.store - 1]!.online)) continue;
        const staying = members.filter((member) => usable.some(({ store }) => store === member.store));
        assert.equal(staying.length, Math.min(replicas, usable.length));
        if (usable.length >= replicas) assert.equal(members.length, replicas);
      }
      const isEven = takers.length === usable.length && new Set(takers.map(({ host }) => host)).size === takers.length;
      const isMovable = end.every(({ members }) =>
        members.every((member) => takers.some(({ store }) => store === member.store)),
      );
      if (!isEven || !isMovable || takers.length < replicas) return;
      const loads = loadsOf(
        end,
        takers.map(({ store }) => store),
      );
      assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, `${loads}`);
    }),
    { numRuns: 300 },
  );
});

function afterFailures(members: readonly GroupMember[], stores: readonly PlannedStore[]): GroupMember[] {
  const isThere = ({ store }: GroupMember) => stores[store - 1]!.online;
  if (!members.some(isThere)) return [...members];
  return members.map((member) => (isThere(member) ? member : { store: member.store, state: "behind" }));
}
