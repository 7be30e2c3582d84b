/** The checkers can fail: bugs in what happens at the end of a client's session are planted, and each must be found. */
import { test } from "node:test";
import { Journal } from "../client/journal.ts";
import { sleep } from "../platform/clock.ts";
import { equalize, fenceSession, writeBlocks } from "../wire/catalogue/store.ts";
import { mustBeFound, withClocks, withService } from "./testing/planting.ts";

const found = /in-sync members are equal|not linearizable|a mapped chunk/;

const withoutFences = () => withService((service) => service.plant(fenceSession, () => async () => ({})));
const overwrites = { overwrite: 10, read: 10, open: 3, createFile: 2, close: 1 };

test("a write after fencing: what a client sent before it was cut off still gets in", () => {
  const faults = { longClientIsolation: 1 };
  return mustBeFound(withoutFences, found, { faults, only: overwrites, firstSeed: 37, seeds: 120 });
});

test("a write after fencing: the last bytes of a client that has died arrive when others have its leases", () => {
  return mustBeFound(withoutFences, found, { faults: { lateBytes: 1 }, only: overwrites, firstSeed: 32, seeds: 120 });
});

test("a client that is killed between its two member writes leaves different copies", () => {
  const hooks = () => {
    // One store is slow, so that clients die while it has not answered.
    const { hooks: clocks, clockOf } = withClocks();
    const services = withService((service, server) => {
      service.plant(equalize, () => async () => ({ copiedBlocks: 0 }));
      if (server !== "beta") return;
      service.plant(writeBlocks, (real) => async (...call) => {
        await sleep(clockOf(server), 300);
        return real(...call);
      });
    });
    return { ...clocks, ...services };
  };
  const only = { overwrite: 20, open: 3, createFile: 2, close: 1 };
  return mustBeFound(hooks, found, { faults: { clientCrash: 1 }, only, firstSeed: 4 });
});

test("an overwrite that doesn't wait for the move of a directory above its file", (context) => {
  context.mock.getter(Journal.prototype, "directoryPosition", () => 0);
  const only = {
    ...{ createFile: 3, open: 6, append: 4, write: 2, overwrite: 20 },
    ...{ makeDirectory: 2, rename: 2, chmod: 10, sync: 14 },
  };
  return mustBeFound(() => ({}), /not linearizable/, { faults: { clientCrash: 1 }, only, firstSeed: 39 });
});
