/**
 * The checkers can fail: a store that has lost everything and is believed all the same is planted, and must be found, also where
 * an operator changes the cluster meanwhile.
 */
import { test } from "node:test";
import { registerStore } from "../wire/catalogue/registration.ts";
import { catchUp, listChunks } from "../wire/catalogue/store.ts";
import type { Hooks } from "./hooks.ts";
import { mustBeFound, withService } from "./testing/planting.ts";

const only = { write: 6, overwrite: 6, read: 10, createFile: 3, open: 3, close: 1, sync: 2 };
const modes = {
  "": {},
  ", while stores come and go": { members: true },
  ", while placement rules change": { rules: true },
  ", while the ledger's copies are promoted": { copies: true, firstSeed: 4 },
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

/** Whoever has copies says that there is nothing to copy: the machine in a lost one's place counts as in sync, and is empty. */
function isInSyncThoughEmpty(): Hooks {
  return withService((service) => {
    service.plant(listChunks, (real) => (body, payload, peer, ...rest) => {
      const isNewMachine = /-\d+$/.test(peer.remote.peerId);
      return isNewMachine ? { chunks: [] } : real(body, payload, peer, ...rest);
    });
  });
}

/** Nobody begins to copy. */
function neverCatchesUp(): Hooks {
  return withService((service) => {
    service.plant(catchUp, () => () => ({}));
  });
}

const found = /not linearizable|a mapped chunk|members are equal/;

for (const [when, mode] of Object.entries(modes)) {
  test(`a store that has lost everything and does not say so${when}`, () =>
    mustBeFound(doesNotSaySo, found, { faults: { storeLoss: 1 }, only, firstSeed: "rules" in mode ? 98 : 1, ...mode }));

  // Where an operator gives out groups the new machine starts when the old one has been removed: then it is refused.
  if ("members" in mode || "rules" in mode) {
    test(`a new machine that is empty and counts as in sync${when}`, () =>
      mustBeFound(isInSyncThoughEmpty, found, { faults: { machineLoss: 1 }, only, ...mode }));
    continue;
  }
  test(`a new machine that is taken for the one whose address it has${when}`, () =>
    mustBeFound(isTakenForTheOldOne, found, { faults: { machineLoss: 1 }, only, ...mode }));
}

test("a store that was lost and gets nothing back: the fault does not end, and is named", () =>
  mustBeFound(neverCatchesUp, /every fault ends: not within .*storeLoss of (alpha|beta)/, {
    faults: { storeLoss: 1 },
    only,
  }));
