/** The checkers can fail: bugs of bounds are planted, and each must be found. */
import { test } from "node:test";
import type { Hooks } from "./hooks.ts";
import { mustBeFound } from "./testing/planting.ts";

test("unused leases that are never given back", async () => {
  const hooks = (): Hooks => ({
    leaseLimits: ({ client, leader, dirtyOperationsMax }) => ({
      dirtyOperationsMax,
      client: { ...client, leasesMax: Number.POSITIVE_INFINITY, idleMs: Number.POSITIVE_INFINITY },
      leader,
    }),
  });
  await mustBeFound(hooks, /a client bounds its leases/, { fewLeases: true });
});

test("a leader that recalls nothing from who has too much", async () => {
  const hooks = (): Hooks => ({
    leaseLimits: (meant) => ({ ...meant, leader: { ...meant.leader, keptMax: Number.POSITIVE_INFINITY } }),
  });
  await mustBeFound(hooks, /the leader bounds the leases of a session/, { fewLeases: true });
});
