/** Rot is found by the checkers where the code under test doesn't do what it must. */
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import { readBlocks } from "../wire/catalogue/store.ts";
import { blockChecksums } from "../wire/checksum.ts";
import type { Hooks } from "./hooks.ts";
import { lostWrites, mustBeFound, withService } from "./testing/planting.ts";

const faults = { rot: 1 };

test("members that give each other no good copies: what has rotted stays", () => {
  const hooks = () =>
    withService((service) => {
      service.plant(readBlocks, (real) => (body, payload, peer, work) => {
        if (!peer.remote.description.endsWith("copying")) return real(body, payload, peer, work);
        throw new BrineError("diskFailed", "planted");
      });
    });
  return mustBeFound(hooks, /rot is repaired/, { faults });
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
