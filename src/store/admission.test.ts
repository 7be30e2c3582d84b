/** What a store was told to leave, and what it registers anew in between. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { Admission } from "./admission.ts";
import type { Store } from "./store.ts";

const group = 3;
const view = { group, generation: 7, members: [{ store: 1, state: "inSync" }] } as unknown as GroupView;
const registration = { store: 1, liveSessions: [], sessionsBelow: 0 };

function admission(): Admission {
  const store = { groups: new Map([[group, view]]), isGroupChanging: () => false } as unknown as Store;
  const clock = { nowMs: () => 0, wallNs: () => 0n, startTimer: () => ({ cancel() {} }) };
  const made = new Admission(clock, store);
  made.serveUntil(1_000);
  return made;
}

test("a group that is left stays left until the store has the groups by another connection", async () => {
  const admitted = admission();
  await admitted.register(registration);
  assert.ok(admitted.isAnswering(view));
  admitted.leave([{ group, generation: 7 }], "first");
  assert.ok(!admitted.isAnswering(view));
  await admitted.register(registration);
  assert.ok(!admitted.isAnswering(view));
  admitted.rejoin("second");
  assert.ok(admitted.isAnswering(view));
});

test("what the leader says right behind its answer to a registration is not forgotten with what it said before", async () => {
  const admitted = admission();
  admitted.leave([{ group, generation: 7 }], "second");
  await admitted.register(registration);
  admitted.rejoin("second");
  assert.ok(!admitted.isAnswering(view));
});

test("what is left is left in earlier generations too, as the store may still have them", () => {
  const admitted = admission();
  void admitted.register(registration);
  admitted.leave([{ group, generation: 9 }], "first");
  assert.ok(!admitted.isAnswering(view));
  admitted.leave([{ group, generation: 6 }], "first");
  assert.ok(admitted.isAnswering(view), "it is a member again since");
});
