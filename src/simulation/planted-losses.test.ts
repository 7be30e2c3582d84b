/** The checkers can fail: a store that has lost everything and is believed all the same is planted, and must be found. */
import { test } from "node:test";
import { registerStore } from "../wire/catalogue/registration.ts";
import { mustBeFound, withService } from "./testing/planting.ts";

const only = { write: 6, overwrite: 6, read: 10, createFile: 3, open: 3, close: 1, sync: 2 };

test("a store that has lost everything and does not say so", () => {
  const hooks = () =>
    withService((service) => {
      service.plant(
        registerStore,
        (real) =>
          (body, ...rest) =>
            real({ ...body, loss: "none" }, ...rest),
      );
    });
  return mustBeFound(hooks, /not linearizable|a mapped chunk|members are equal/, { faults: { storeLoss: 1 }, only });
});
