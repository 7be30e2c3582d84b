/** The checkers can fail: stores that go on when they must not are planted, and each must be found. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { registerStore, storeHeartbeat } from "../wire/catalogue/registration.ts";
import { leaveGroups } from "../wire/catalogue/store.ts";
import { simulate } from "./simulation.ts";
import { mustBeFound, withService } from "./testing/planting.ts";

const serves = /who has left a group serves it no more/;
const only = { write: 6, overwrite: 6, read: 10, createFile: 3, open: 3, close: 1 };

test("a store that serves after its time, cut off from the leader", () => {
  const hooks = () =>
    withService((service) => {
      service.plant(registerStore, (real) => async (...call) => {
        const answer = await real(...call);
        return "payload" in answer ? answer : { ...answer, serveMs: 60_000 };
      });
    });
  return mustBeFound(hooks, serves, { faults: { isolation: 2, cutLink: 1 }, only });
});

test("a store that serves a group which it was told to leave", () => {
  const hooks = () => withService((service) => service.plant(leaveGroups, () => async () => ({})));
  return mustBeFound(hooks, serves, { members: true, only });
});

const stalls = { faults: { longDiskStall: 1 }, only: { ...only, sync: 4 }, operations: 600 } as const;

test("stores whose disks don't answer are out of their groups in time", async () => {
  let seen = 0;
  for (let seed = 1; seed <= 40 && seen === 0; seed++) {
    const { failure, stalledDisksSeen } = await simulate({ seed, ...stalls });
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.error.stack}`);
    seen += stalledDisksSeen;
  }
  assert.ok(seen > 0, "some disk did not answer for so long, all else being well");
});

test("a leader that doesn't hear of a disk which doesn't answer", () => {
  const hooks = () =>
    withService((service) => {
      service.plant(
        storeHeartbeat,
        (real) =>
          (body, ...rest) =>
            real({ ...body, stall: undefined }, ...rest),
      );
    });
  return mustBeFound(hooks, /a store whose disk doesn't answer leaves its groups/, stalls);
});
