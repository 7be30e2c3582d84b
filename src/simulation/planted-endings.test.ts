/** The checkers can fail: bugs in what happens at the end of a client's session are planted, and each must be found. */
import { test } from "node:test";
import { equalize, fenceSession } from "../wire/catalogue/store.ts";
import { mustBeFound, withService } from "./testing/planting.ts";

const found = /in-sync members are equal|not linearizable|a mapped chunk/;

test("a write after fencing: what a client sent before it was cut off still gets in", () => {
  const hooks = () => withService((service) => service.plant(fenceSession, () => async () => ({})));
  const faults = { longClientIsolation: 1 } as const;
  return mustBeFound(hooks, found, { faults, more: ["overwrite", "read"], firstSeed: 11, seeds: 200 });
});

test("a client that is killed between its two member writes leaves different copies", () => {
  const hooks = () => withService((service) => service.plant(equalize, () => async () => ({ copiedBlocks: 0 })));
  const faults = { clientCrash: 1 } as const;
  return mustBeFound(hooks, found, { faults, only: { overwrite: 20, open: 3, createFile: 2, close: 1 }, seeds: 200 });
});
