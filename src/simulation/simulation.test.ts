import { strict as assert } from "node:assert";
import { test } from "node:test";
import { fewLeases as few } from "./checkers/lease-bounds.ts";
import { type FaultKind, type FaultLevel, faultKinds, faultLevels } from "./fault-kinds.ts";
import { simulate } from "./simulation.ts";
import type { SimulationResult } from "./simulation-result.ts";

/** Seeds of each level: what fits into half a minute. More: npm run simulate -- --seeds 1..1000 */
const seedsOf: Readonly<Record<FaultLevel, number>> = { none: 4, some: 6, all: 10 };
const operations = 150;

function check({ seed, failure, history }: SimulationResult, faults: FaultLevel): void {
  if (failure === undefined) return;
  const again = `npm run simulate -- --seed ${seed} --operations ${operations} --faults ${faults}`;
  assert.fail(`${failure.error.stack}\n${history.slice(-10).join("\n")}\nagain: ${again}`);
}

const struck = new Set<FaultKind>();

for (const faults of faultLevels) {
  test(`simulations with faults: ${faults}`, async () => {
    for (let seed = 1; seed <= seedsOf[faults]; seed++) {
      const result = await simulate({ seed, operations, faults });
      check(result, faults);
      for (const kind of result.faults.keys()) struck.add(kind);
    }
  });
}

test("simulations in which stores come and go for good", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const { failure, faults, history } = await simulate({ seed, operations, faults: "all", members: true });
    for (const kind of faults.keys()) struck.add(kind);
    const again = `npm run simulate -- --seed ${seed} --operations ${operations} --members`;
    if (failure !== undefined) assert.fail(`${failure.error.stack}\n${history.slice(-10).join("\n")}\nagain: ${again}`);
  }
});

test("simulations in which placement rules and labels change, and rules are applied", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const { failure, faults, history } = await simulate({ seed, operations, faults: "all", rules: true });
    for (const kind of faults.keys()) struck.add(kind);
    const again = `npm run simulate -- --seed ${seed} --operations ${operations} --rules`;
    if (failure !== undefined) assert.fail(`${failure.error.stack}\n${history.slice(-10).join("\n")}\nagain: ${again}`);
  }
});

test("simulations in which quotas come, change and go", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const { failure, history } = await simulate({ seed, operations, faults: "all", quotas: true });
    const again = `npm run simulate -- --seed ${seed} --operations ${operations} --quotas`;
    if (failure !== undefined) assert.fail(`${failure.error.stack}\n${history.slice(-10).join("\n")}\nagain: ${again}`);
  }
});

test("simulations in which leaders are lost and the ledger's copies promoted", async () => {
  const done = new Map<string, number>();
  for (let seed = 1; seed <= 3; seed++) {
    const { failure, ledgerChanges, history } = await simulate({ seed, operations, faults: "some", copies: true });
    for (const [change, count] of ledgerChanges) done.set(change, (done.get(change) ?? 0) + count);
    const again = `npm run simulate -- --seed ${seed} --operations ${operations} --faults some --copies`;
    if (failure !== undefined) assert.fail(`${failure.error.stack}\n${history.slice(-10).join("\n")}\nagain: ${again}`);
  }
  assert.ok((done.get("promoted") ?? 0) > 0, "something was promoted");
});

test("simulations in which clients may keep few leases", async () => {
  const most = { client: 0, leader: 0 };
  for (let seed = 1; seed <= 4; seed++) {
    const { failure, leasesKeptMost, history } = await simulate({ seed, operations, faults: "some", fewLeases: true });
    for (const side of ["client", "leader"] as const) most[side] = Math.max(most[side], leasesKeptMost[side]);
    const again = `npm run simulate -- --seed ${seed} --operations ${operations} --faults some --few-leases`;
    if (failure !== undefined) assert.fail(`${failure.error.stack}\n${history.slice(-10).join("\n")}\nagain: ${again}`);
  }
  const { client, leader } = few;
  assert.ok(most.client > client.client.leasesMax, `no client had too many: ${most.client}`);
  assert.ok(most.leader >= leader.leader.keptMax - leader.leader.recalledAtOnce, `none was recalled: ${most.leader}`);
});

test("simulations in which both clients fill the stores", async () => {
  let [rounds, both] = [0, false];
  for (let seed = 4; seed <= 20 && !both; seed++) {
    const { failure, withoutSpace, history } = await simulate({ seed, operations: 300, faults: "none", full: true });
    const again = `npm run simulate -- --seed ${seed} --operations 300 --faults none --full`;
    if (failure !== undefined) assert.fail(`${failure.error.stack}\n${history.slice(-10).join("\n")}\nagain: ${again}`);
    both = withoutSpace.size === 2;
    rounds += 1;
  }
  assert.ok(both, `in none of ${rounds} did both clients meet ENOSPC`);
});

test("every kind of fault strikes: in these, or in one that has no others", async () => {
  for (const kind of faultKinds) {
    for (let seed = 1; seed <= 10 && !struck.has(kind); seed++) {
      const { failure, faults } = await simulate({ seed, operations, faults: { [kind]: 1 } });
      if (failure !== undefined) assert.fail(`${kind}, seed ${seed}: ${failure.error.stack}`);
      for (const one of faults.keys()) struck.add(one);
    }
    assert.ok(struck.has(kind), kind);
  }
});

test("the same seed gives the same digest, twice", async () => {
  const run = () => simulate({ seed: 7, operations: 100, faults: "all" });
  const [first, second] = [await run(), await run()];
  assert.equal(first.digest, second.digest);
  assert.equal(first.events, second.events);
  assert.notEqual((await simulate({ seed: 8, operations: 100, faults: "all" })).digest, first.digest);
});
