/** Failure, return and catch-up of a group's members. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { GroupMember, GroupRecord, MemberState } from "../namespace/model.ts";
import { nextMembers, type StoreCondition, type StoreFacts, type StoreLoss } from "./next-members.ts";

function groupOf(...states: readonly MemberState[]): GroupRecord {
  const members = states.map((state, at) => ({ store: at + 1, state }));
  const of = { volume: 1, pool: 0, labels: [], failureDomain: "host" };
  return { ...of, group: 1, replicas: states.length, generation: 5, members, nextNumber: 0 };
}

interface Case {
  readonly name: string;
  readonly before: readonly MemberState[];
  readonly conditions: readonly StoreCondition[];
  readonly facts?: Partial<StoreFacts>;
  readonly after: readonly MemberState[] | undefined;
}

const cases: readonly Case[] = [
  {
    name: "all well",
    before: ["inSync", "inSync"],
    conditions: ["online", "online"],
    after: undefined,
  },
  {
    name: "one is dead",
    before: ["inSync", "inSync"],
    conditions: ["online", "dead"],
    after: ["inSync", "behind"],
  },
  {
    name: "a silent one may still serve",
    before: ["inSync", "inSync"],
    conditions: ["online", "silent"],
    after: undefined,
  },
  {
    name: "one is dead, the other silent",
    before: ["inSync", "inSync"],
    conditions: ["silent", "dead"],
    after: ["inSync", "behind"],
  },
  {
    name: "all are dead: each has everything",
    before: ["inSync", "inSync"],
    conditions: ["dead", "dead"],
    after: undefined,
  },
  {
    name: "the last in sync is dead",
    before: ["inSync", "behind"],
    conditions: ["dead", "online"],
    after: undefined,
  },
  {
    name: "nobody is in sync: the heir stays the heir, also dead",
    before: ["catchingUp", "behind"],
    conditions: ["dead", "online"],
    after: undefined,
  },
  {
    name: "the heir has made its copy the group's",
    before: ["catchingUp", "behind"],
    conditions: ["online", "online"],
    facts: { hasCaughtUp: (store) => store === 1 },
    after: ["inSync", "behind"],
  },
  {
    name: "one that catches up doesn't save the last in sync",
    before: ["inSync", "catchingUp"],
    conditions: ["dead", "online"],
    after: undefined,
  },
  {
    name: "one that is behind comes back",
    before: ["inSync", "behind"],
    conditions: ["online", "online"],
    after: ["inSync", "catchingUp"],
  },
  {
    name: "one comes back, but there is nobody to copy from",
    before: ["inSync", "behind"],
    conditions: ["silent", "online"],
    after: undefined,
  },
  {
    name: "one comes back soon after its catch-up has failed",
    before: ["inSync", "behind"],
    conditions: ["online", "online"],
    facts: { mayRejoin: () => false },
    after: undefined,
  },
  {
    name: "one has caught up",
    before: ["inSync", "catchingUp"],
    conditions: ["online", "online"],
    facts: { hasCaughtUp: () => true },
    after: ["inSync", "inSync"],
  },
  {
    name: "one dies while it catches up",
    before: ["inSync", "catchingUp"],
    conditions: ["online", "dead"],
    after: ["inSync", "behind"],
  },
  {
    name: "one has caught up, but missed a write",
    before: ["inSync", "catchingUp"],
    conditions: ["online", "online"],
    facts: { hasCaughtUp: () => true, hasMissedWrite: () => true },
    after: ["inSync", "behind"],
  },
  {
    name: "one has surely lost something: any other knows better, whether it is there or not",
    before: ["inSync", "inSync"],
    conditions: ["silent", "dead"],
    facts: { loss: lossOf("certain", "none") },
    after: ["behind", "inSync"],
  },
  {
    name: "the only one in sync has lost something",
    before: ["inSync", "behind"],
    conditions: ["online", "online"],
    facts: { loss: lossOf("certain", "none") },
    after: undefined,
  },
  {
    name: "one may have lost something: one that is whole can tell",
    before: ["inSync", "inSync"],
    conditions: ["silent", "online"],
    facts: { loss: lossOf("possible", "none") },
    after: ["behind", "inSync"],
  },
  {
    name: "all may have lost something",
    before: ["inSync", "inSync"],
    conditions: ["online", "online"],
    facts: { loss: lossOf("possible", "possible") },
    after: undefined,
  },
  {
    name: "one that has surely lost something is no reason to let the others go",
    before: ["inSync", "inSync", "inSync"],
    conditions: ["online", "dead", "dead"],
    facts: { loss: lossOf("certain", "none", "none") },
    after: ["behind", "inSync", "inSync"],
  },
];

function lossOf(...losses: StoreLoss[]): StoreFacts["loss"] {
  return (store) => losses[store - 1]!;
}

const calm: Omit<StoreFacts, "condition"> = {
  hasCaughtUp: () => false,
  hasMissedWrite: () => false,
  loss: () => "none",
  mayRejoin: () => true,
};

for (const { name, before, conditions, facts, after } of cases) {
  test(name, () => {
    const group = groupOf(...before);
    const next = nextMembers(group, { ...calm, condition: (store) => conditions[store - 1]!, ...facts });
    assert.deepEqual(next, after && groupOf(...after).members);
    assert.deepEqual(group, groupOf(...before), "the given group is not changed");
  });
}

test("whatever is the case, one member stays in sync, and none gets there but by catching up", () => {
  const store = fc.record({
    state: fc.constantFrom<MemberState>("inSync", "catchingUp", "behind"),
    condition: fc.constantFrom<StoreCondition>("online", "silent", "dead"),
    hasCaughtUp: fc.boolean(),
    hasMissedWrite: fc.boolean(),
    mayRejoin: fc.boolean(),
    loss: fc.constantFrom<StoreLoss>("none", "possible", "certain"),
  });
  const stores = fc
    .array(store, { minLength: 1, maxLength: 4 })
    .filter((all) => all.some(({ state }) => state === "inSync"));
  fc.assert(
    fc.property(stores, (all) => {
      const group = groupOf(...all.map(({ state }) => state));
      const next = nextMembers(group, {
        condition: (number) => all[number - 1]!.condition,
        hasCaughtUp: (number) => all[number - 1]!.hasCaughtUp,
        hasMissedWrite: (number) => all[number - 1]!.hasMissedWrite,
        mayRejoin: (number) => all[number - 1]!.mayRejoin,
        loss: (number) => all[number - 1]!.loss,
      });
      if (next === undefined) return;
      assert.notDeepEqual(next, group.members);
      assert.ok(next.some((member) => member.state === "inSync" && all[member.store - 1]!.state === "inSync"));
      // The best of those in sync stays one: whole ones before those that may have lost something.
      const lossesOf = (members: readonly GroupMember[]) =>
        members.filter(({ state }) => state === "inSync").map(({ store }) => all[store - 1]!.loss);
      const wasComplete = lossesOf(group.members).some((loss) => loss !== "certain");
      if (wasComplete) assert.ok(lossesOf(next).some((loss) => loss !== "certain"));
      for (const member of next) {
        const before = all[member.store - 1]!;
        if (member.state === "inSync") assert.notEqual(before.state, "behind");
        if (member.state === "catchingUp") assert.notEqual(before.condition, "dead");
      }
    }),
  );
});
