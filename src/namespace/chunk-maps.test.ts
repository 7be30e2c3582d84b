import assert from "node:assert/strict";
import { test } from "node:test";
import { chunkPassedOver } from "./chunk-maps.ts";
import { blockBytes, chunkBytes } from "./model.ts";

test("a file that grows passes over whole blocks of the chunk in which it ended", () => {
  assert.equal(chunkPassedOver(0, 10 * chunkBytes), undefined, "there was no chunk");
  assert.equal(chunkPassedOver(1, blockBytes), undefined);
  assert.equal(chunkPassedOver(1, 2 * blockBytes - 1), undefined, "the write begins in the next block");
  assert.equal(chunkPassedOver(1, 2 * blockBytes), 0);
  assert.equal(chunkPassedOver(blockBytes, 2 * blockBytes), 0);
  assert.equal(chunkPassedOver(blockBytes + 1, 2 * blockBytes), undefined);
  assert.equal(chunkPassedOver(chunkBytes - blockBytes, chunkBytes), 0, "its last block");
  assert.equal(chunkPassedOver(chunkBytes - blockBytes + 1, 5 * chunkBytes), undefined, "its last block was begun");
  assert.equal(chunkPassedOver(2 * chunkBytes, 5 * chunkBytes), undefined);
  assert.equal(chunkPassedOver(2 * chunkBytes + 1, 5 * chunkBytes), 2);
  const largest = Number.MAX_SAFE_INTEGER;
  assert.equal(chunkPassedOver(largest - 2 * blockBytes, largest), Math.floor(largest / chunkBytes));
  assert.equal(chunkPassedOver(largest, largest), undefined);
});
