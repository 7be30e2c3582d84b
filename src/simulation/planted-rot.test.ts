/** Rot, and what a disk can't read, is found by the checkers where the code under test doesn't do what it must. */
import { test } from "node:test";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import { readBlocks } from "../wire/catalogue/store.ts";
import { blockChecksums } from "../wire/checksum.ts";
import type { Hooks } from "./hooks.ts";
import { lostWrites, mustBeFound, withService } from "./testing/planting.ts";

const faults = { rot: 1 };

/** Catch-ups go on: they ask for more than one block. */
function keepsGoodCopies(): Hooks {
  return withService((service) => {
    service.plant(readBlocks, (real) => (body, payload, peer, work) => {
      const isRepair = peer.remote.description.endsWith("copying") && body.blockCount === 1;
      if (!isRepair) return real(body, payload, peer, work);
      throw new BrineError("diskFailed", "planted");
    });
  });
}

/** Of what is overwritten soon nothing is left to be repaired. */
const keeping = { createFile: 6, write: 3, append: 3, read: 6, open: 3, close: 1, sync: 2 };

const modes = {
  "": {},
  ", while stores come and go": { members: true },
  ", while placement rules change": { rules: true },
  ", while the ledger's copies are promoted": { copies: true, firstSeed: 2 },
} as const;

for (const [when, mode] of Object.entries(modes)) {
  test(`members that give each other no good copies: what has rotted stays${when}`, () =>
    mustBeFound(keepsGoodCopies, /rot is repaired/, { faults, only: keeping, ...mode }));
}

test("members that give each other no good copies: what can't be read stays", () =>
  mustBeFound(keepsGoodCopies, /rot is repaired/, { faults: { badSector: 1 }, only: keeping }));

test("a store whose disk can't read a block says that it has none there", () => {
  const hooks = (): Hooks =>
    withService((service) => {
      service.plant(readBlocks, (real) => async (...asked) => {
        try {
          return await real(...asked);
        } catch (error) {
          if (!hasCode(error, "diskFailed")) throw error;
          return { body: { extents: [] }, payload: [] };
        }
      });
    });
  return mustBeFound(hooks, /not linearizable|rot is repaired/, {
    faults: { badSector: 1 },
    more: ["overwrite", "read"],
  });
});

test("a store that makes checksums fit what its disk has", () => {
  const hooks = (): Hooks =>
    withService((service) => {
      service.plant(readBlocks, (real) => async (body, payload, peer, work) => {
        const answer = (await real(body, payload, peer, work)) as {
          body: { extents: { origin: number; firstBlock: number; version: never; checksums: number[] }[] };
          payload: Uint8Array[];
        };
        const data = Buffer.concat(answer.payload);
        let at = 0;
        for (const extent of answer.body.extents) {
          const length = extent.checksums.length * blockBytes;
          const blocks = data.subarray(at, at + length);
          extent.checksums = blockChecksums(blocks, extent.origin, extent.firstBlock, extent.version);
          at += length;
        }
        return answer;
      });
    });
  return mustBeFound(hooks, /not linearizable|members are equal/, { faults, more: ["overwrite", "read"] });
});

test("a write that a disk has lost is found by the scrub's comparison", () => {
  // Readers that meet the gap first are another checker's.
  return mustBeFound(lostWrites("lost"), /a scrub has found|not linearizable|a mapped chunk/, { faults });
});
