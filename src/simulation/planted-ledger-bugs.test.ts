/** The checkers can fail: bugs are planted in the rules of the ledger's copies, and each must be found. */
import { test } from "node:test";
import { appendEntries, renewServing } from "../wire/catalogue/ledger.ts";
import { mustBeFound, withService } from "./testing/planting.ts";

test("a copy that acknowledges entries and doesn't keep them", () => {
  const hooks = () =>
    withService((service) => {
      let count = 0;
      service.plant(appendEntries, (real) => (...call) => {
        count += 1;
        return count > 20 ? {} : real(...call);
      });
    });
  const found = /not linearizable|same state|a mapped chunk|starts again/;
  return mustBeFound(hooks, found, { copies: true, operations: 300, firstSeed: 4 });
});

test("a leader that serves without leave, after it was cut off", () => {
  const hooks = () =>
    withService((service) => {
      service.plant(renewServing, (real) => async (...call) => {
        await real(...call);
        return { serveMs: 60_000 };
      });
    });
  return mustBeFound(hooks, /one server leads at a time/, { copies: true, operations: 300, firstSeed: 9 });
});
