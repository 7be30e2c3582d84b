/**
 * The checkers can fail: a store that has lost everything and is believed all the same is planted, and must be found, also where
 * an operator changes the cluster meanwhile.
 */
import { test } from "node:test";
import { registerStore } from "../wire/catalogue/registration.ts";
import type { Hooks } from "./hooks.ts";
import { mustBeFound, withService } from "./testing/planting.ts";

const only = { write: 6, overwrite: 6, read: 10, createFile: 3, open: 3, close: 1, sync: 2 };
const modes = {
  "": {},
  ", while stores come and go": { members: true },
  ", while placement rules change": { rules: true },
  ", while the ledger's copies are promoted": { copies: true },
} as const;

function doesNotSaySo(): Hooks {
  return withService((service) => {
    service.plant(
      registerStore,
      (real) =>
        (body, ...rest) =>
          real({ ...body, loss: "none" }, ...rest),
    );
  });
}

function isTakenForTheOldOne(): Hooks {
  return withService((service) => {
    service.plant(
      registerStore,
      (real) =>
        ({ serverId, ...body }, ...rest) =>
          real({ ...body, serverId: serverId.replace(/-\d+$/, "") }, ...rest),
    );
  });
}

const found = /not linearizable|a mapped chunk|members are equal/;

for (const [when, mode] of Object.entries(modes)) {
  test(`a store that has lost everything and does not say so${when}`, () =>
    mustBeFound(doesNotSaySo, found, { faults: { storeLoss: 1 }, only, ...mode }));

  // Where an operator gives out groups the new machine starts when the old one has been removed: then it is refused.
  if ("members" in mode || "rules" in mode) continue;
  test(`a new machine that is taken for the one whose address it has${when}`, () =>
    mustBeFound(isTakenForTheOldOne, found, { faults: { machineLoss: 1 }, only, ...mode }));
}
