/** Bugs of placement: each must be found by simulations in which rules change and are applied. */
import { test } from "node:test";
import { readPlacement } from "../wire/catalogue/leader.ts";
import { mustBeFound, withHandler } from "./testing/planting.ts";

test("clients that are told of no rules", () => {
  const hooks = () =>
    withHandler("meta", readPlacement, (real) => async (...call) => {
      const answer = await real(...call);
      if (!("placement" in answer)) return answer;
      return { ...answer, placement: { ...answer.placement, rules: [] } };
    });
  return mustBeFound(hooks, /files are where the rules say/, { rules: true });
});
