import assert from "node:assert/strict";
import { test } from "node:test";
import { LateMembers } from "./late-members.ts";

const members = [{ store: 1 }, { store: 2 }, { store: 3 }];

function numbers(late: LateMembers): number[] {
  return late.ordered(members).map(({ store }) => store);
}

test("who was late is asked last, until it is quick again or a minute is over", async () => {
  let now = 1_000;
  const late = new LateMembers({ nowMs: () => now });
  const asked = (store: number, tookMs: number, error?: Error) =>
    late.asking(store, async () => {
      now += tookMs;
      if (error !== undefined) throw error;
      return store;
    });
  assert.deepEqual(numbers(late), [1, 2, 3]);
  assert.equal(await asked(2, 20), 2);
  await asked(1, 600);
  assert.deepEqual(numbers(late), [2, 3, 1]);
  await assert.rejects(asked(2, 2_000, new Error("not in time")), /not in time/);
  assert.deepEqual(numbers(late), [3, 1, 2], "among themselves in their order");
  await asked(1, 10);
  assert.deepEqual(numbers(late), [1, 3, 2]);
  now += 60_000;
  assert.deepEqual(numbers(late), [1, 2, 3]);
});
