import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { blockBytes } from "../namespace/model.ts";
import { endBlock, overlapping, overlay, remove, type StoredExtent } from "./extents.ts";

const blockCount = 24;

interface Cell {
  readonly version: number;
  readonly segment: number;
  readonly offset: number;
  readonly checksum: number;
}

function extentOf(firstBlock: number, count: number, version: number, offset: number): StoredExtent {
  return {
    firstBlock,
    stamp: { version: { grant: version, sequence: 0 }, generation: 1, session: 1 },
    origin: 7,
    checksums: Array.from({ length: count }, (_, index) => version * 1000 + firstBlock + index),
    segment: 1,
    offset,
  };
}

function cellsOf(extents: readonly StoredExtent[]): (Cell | undefined)[] {
  const cells: (Cell | undefined)[] = new Array(blockCount).fill(undefined);
  let before = 0;
  for (const extent of extents) {
    assert.ok(extent.firstBlock >= before, "sorted, without overlap");
    assert.ok(extent.checksums.length > 0);
    before = endBlock(extent);
    extent.checksums.forEach((checksum, index) => {
      cells[extent.firstBlock + index] = {
        version: extent.stamp.version.grant,
        segment: extent.segment,
        // Zeros have no place.
        offset: extent.offset === 0 ? 0 : extent.offset + index * blockBytes,
        checksum,
      };
    });
  }
  return cells;
}

function blocksOf(extents: readonly StoredExtent[]): number {
  return extents.reduce((sum, extent) => sum + extent.checksums.length, 0);
}

const step = fc.record({
  kind: fc.constantFrom("write", "write", "zeros", "remove"),
  from: fc.nat(blockCount - 1),
  count: fc.integer({ min: 1, max: blockCount }),
  version: fc.integer({ min: 1, max: 6 }),
});

test("extents behave as an array of blocks", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let extents: readonly StoredExtent[] = [];
      const model: (Cell | undefined)[] = new Array(blockCount).fill(undefined);
      steps.forEach(({ kind, from, count: wanted, version }, number) => {
        const to = Math.min(blockCount, from + wanted);
        const before = blocksOf(extents);
        if (kind !== "remove") {
          const added = extentOf(from, to - from, version, kind === "zeros" ? 0 : (number + 1) * 1_000_000);
          const result = overlay(extents, added, (present) => present.stamp.version.grant < version);
          assert.equal(
            blocksOf(result.extents),
            before + (to - from) - blocksOf(result.released) - blocksOf(result.refused),
          );
          extents = result.extents;
          cellsOf([added]).forEach((cell, block) => {
            if (cell !== undefined && (model[block]?.version ?? 0) < version) model[block] = cell;
          });
        } else {
          const result = remove(extents, from, to, (present) => present.stamp.version.grant === version);
          assert.equal(blocksOf(result.extents), before - blocksOf(result.released));
          extents = result.extents;
          for (let block = from; block < to; block++) if (model[block]?.version === version) model[block] = undefined;
        }
        assert.deepEqual(cellsOf(extents), model);
        const seen = cellsOf(overlapping(extents, from, to));
        assert.deepEqual(
          seen,
          model.map((cell, block) => (block >= from && block < to ? cell : undefined)),
        );
      });
    }),
  );
});
