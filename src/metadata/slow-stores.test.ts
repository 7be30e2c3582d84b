/** Which stores are called slow. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { slowStores } from "./slow-stores.ts";

const slow = (...latencies: (number | undefined)[]) => [
  ...slowStores(latencies.map((latencyMs, index) => ({ store: index + 1, latencyMs }))),
];

test("the one that stands out is slow", () => {
  assert.deepEqual(slow(2, 300, 3), [2]);
  assert.deepEqual(slow(300, 2), [1]);
});

test("all that wait alike are busy, not slow; small differences and idle stores are nothing", () => {
  assert.deepEqual(slow(300, 280, 350), []);
  assert.deepEqual(slow(99, 1, 1), []);
  assert.deepEqual(slow(undefined, 2, 3), []);
});

test("without others that work there is nothing to compare with", () => {
  assert.deepEqual(slow(900), []);
  assert.deepEqual(slow(900, undefined), []);
});
