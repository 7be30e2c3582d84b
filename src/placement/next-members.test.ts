/** Failure, return and catch-up of a group's members. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { GroupMember, MemberState } from "../namespace/model.ts";
import { nextMembers, type StoreEvent } from "./next-members.ts";

function members(...states: MemberState[]): GroupMember[] {
  return states.map((state, at) => ({ store: at + 1, state }));
}

const table: readonly [before: MemberState[], store: number, event: StoreEvent, after: MemberState[] | undefined][] = [
  [["inSync", "inSync"], 2, "failed", ["inSync", "behind"]],
  [["inSync", "behind"], 1, "failed", undefined],
  [["inSync", "catchingUp"], 1, "failed", undefined],
  [["inSync", "catchingUp"], 2, "failed", ["inSync", "behind"]],
  [["inSync", "behind"], 2, "failed", undefined],
  [["inSync", "behind"], 2, "returned", ["inSync", "catchingUp"]],
  [["inSync", "catchingUp"], 2, "returned", ["inSync", "catchingUp"]],
  [["inSync", "inSync"], 2, "returned", undefined],
  [["inSync", "catchingUp"], 2, "caughtUp", ["inSync", "inSync"]],
  [["inSync", "behind"], 2, "caughtUp", undefined],
  [["inSync", "inSync"], 2, "caughtUp", undefined],
  [["inSync"], 9, "failed", undefined],
];

for (const [before, store, event, after] of table) {
  test(`${before.join(", ")}: store ${store} ${event}`, () => {
    const given = members(...before);
    assert.deepEqual(nextMembers(given, store, event), after && members(...after));
    assert.deepEqual(given, members(...before), "the given members are not changed");
  });
}

test("whatever happens, one member stays in sync, and none gets there but by catching up", () => {
  const events = fc.array(
    fc.record({
      store: fc.integer({ min: 1, max: 4 }),
      event: fc.constantFrom<StoreEvent>("failed", "returned", "caughtUp"),
    }),
    { maxLength: 50 },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), events, (replicas, happened) => {
      let present = members(...Array.from({ length: replicas }, (): MemberState => "inSync"));
      for (const { store, event } of happened) {
        const next = nextMembers(present, store, event);
        if (next === undefined) continue;
        assert.deepEqual(
          next.map((member) => member.store),
          present.map((member) => member.store),
        );
        assert.ok(next.some((member) => member.state === "inSync"));
        for (const [at, member] of next.entries()) {
          const before = present[at]!.state;
          if (member.state === "inSync") assert.notEqual(before, "behind");
        }
        present = next;
      }
    }),
  );
});
