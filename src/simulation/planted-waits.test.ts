/** The checkers can fail: what makes operations wait although the metadata server is there is planted, and must be found. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { Journal } from "../client/journal.ts";
import { sleep } from "../platform/clock.ts";
import { stateHoldings } from "../wire/catalogue/leader.ts";
import { writeBlocks } from "../wire/catalogue/store.ts";
import type { Hooks } from "./hooks.ts";
import { simulate } from "./simulation.ts";
import { mustBeFound, type Planted, withClocks, withService } from "./testing/planting.ts";

const faults = { leaderKill: 1 };
const starves = /nobody starves while the metadata server is there/;

function withPlants(plant: (service: Planted, pause: (ms: number) => Promise<void>) => void): Hooks {
  const { hooks, clockOf } = withClocks();
  return { ...hooks, ...withService((service, server) => plant(service, (ms) => sleep(clockOf(server), ms))) };
}

test("a leader that is killed again and again answers everybody while it is there", async () => {
  let longestMs = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const { failure, longestWaitMs, history } = await simulate({ seed, operations: 150, faults });
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.error.stack}\n${history.slice(-10).join("\n")}`);
    longestMs = Math.max(longestMs, longestWaitMs);
  }
  assert.ok(longestMs > 0, "somebody has waited for it");
});

test("a leader that takes leases back one by one, so that all wait until it has done with them", () => {
  const hooks = () =>
    withPlants((service, pause) => {
      service.plant(stateHoldings, (real) => async (...call) => {
        await pause(500 * call[0].leases.length);
        return real(...call);
      });
    });
  return mustBeFound(hooks, starves, { faults });
});

/** So long a write to a store takes: else a simulated journal is too short for anybody to wait for it. */
const slowSyncMs = 80;
const busy = {
  ...{ createFile: 6, unlink: 4, append: 4, write: 2, rename: 3, chmod: 6 },
  ...{ open: 6, overwrite: 30, lookup: 3 },
};

function withSlowStores(): Hooks {
  return withPlants((service, pause) => {
    service.plant(writeBlocks, (real) => async (...call) => {
      const answer = await real(...call);
      await pause(slowSyncMs);
      return answer;
    });
  });
}

test("a journal that is sent one entry after the other, because each overwrite waits for all that is before it", async (context) => {
  const search = { faults, only: busy, operations: 300 };
  const seed = 2;
  const { failure } = await simulate({ seed, ...search, hooks: withSlowStores() });
  assert.equal(failure, undefined, "without the bug");
  context.mock.getter(Journal.prototype, "directoryPosition", function (this: Journal) {
    return this.position - 1;
  });
  await mustBeFound(withSlowStores, starves, { ...search, firstSeed: seed });
});
