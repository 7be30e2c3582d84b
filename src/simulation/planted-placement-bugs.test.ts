/** Bugs of placement: each must be found by simulations in which rules change and are applied. */
import { test } from "node:test";
import { sleep } from "../platform/clock.ts";
import { setCopies } from "../wire/catalogue/admin.ts";
import { readPlacement } from "../wire/catalogue/leader.ts";
import { mustBeFound, type Search, withClocks, withHandler, withService } from "./testing/planting.ts";

/** What shows that a chunk has too few copies, where that was seen. */
const writing: Search = {
  ...{ members: true, faults: { storeCrash: 3, isolation: 1 }, operations: 300, firstSeed: 7 },
  only: { write: 20, overwrite: 20, createFile: 8, open: 10, close: 3, sync: 5 },
};

test("clients that are told of no rules", () => {
  const hooks = () =>
    withHandler("meta", readPlacement, (real) => async (...call) => {
      const answer = await real(...call);
      if (!("placement" in answer)) return answer;
      return { ...answer, placement: { ...answer.placement, rules: [] } };
    });
  return mustBeFound(hooks, /files are where the rules say/, { rules: true });
});

test("clients that are told to write with any number of copies in sync", () => {
  const hooks = () =>
    withHandler("meta", readPlacement, (real) => async (...call) => {
      const answer = await real(...call);
      if (!("groups" in answer)) return answer;
      return { ...answer, groups: answer.groups.map((group) => ({ ...group, inSyncMin: 1 })) };
    });
  return mustBeFound(hooks, /fewer copies than the volume wants/, writing);
});

test("an operator who is told that a minimum holds before clients know of it", () => {
  const hooks = () => {
    const { hooks: clocks, clockOf } = withClocks();
    const planted = withService((service, server) => {
      if (server !== "meta") return;
      service.plant(readPlacement, (real) => async (...call) => {
        await sleep(clockOf(server), 2_000);
        return real(...call);
      });
      service.plant(setCopies, (real) => async (...call) => {
        await Promise.race([real(...call), sleep(clockOf(server), 100)]);
        return {};
      });
    });
    return { ...clocks, ...planted };
  };
  return mustBeFound(hooks, /fewer copies than the volume wants/, { ...writing, firstSeed: 28 });
});
