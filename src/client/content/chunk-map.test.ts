import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { Mapping } from "../../namespace/model.ts";
import { ChunkMap, wholeMap } from "./chunk-map.ts";

const never = () => Promise.reject(new Error("asked"));

type Change = { index: number; chunk: number | undefined } | { cut: number };

test("property: a map is what a plain one is, and lists what it has in order", () => {
  const index = fc.nat(20);
  const change: fc.Arbitrary<Change> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ index, chunk: fc.option(fc.nat(1000), { nil: undefined }) }) },
    { weight: 1, arbitrary: fc.record({ cut: index }) },
  );
  const property = fc.property(fc.array(change, { maxLength: 60 }), index, fc.nat(30), (changes, from, limit) => {
    const map = new ChunkMap([], wholeMap, never);
    const model = new Map<number, number>();
    for (const one of changes) {
      if ("cut" in one) {
        map.cut(one.cut);
        for (const known of [...model.keys()]) if (known >= one.cut) model.delete(known);
      } else if (one.chunk === undefined) {
        map.delete(one.index);
        model.delete(one.index);
      } else {
        map.set(one.index, one.chunk);
        model.set(one.index, one.chunk);
      }
      // As it is asked in between, too: the order that it has found must not be kept too long.
      assert.equal(map.mappings(0, 100).length, model.size);
    }
    for (let at = 0; at <= 20; at++) assert.equal(map.get(at), model.get(at));
    const expected = [...model].map(([at, chunk]) => ({ index: at, chunk }));
    expected.sort((left, right) => left.index - right.index);
    assert.deepEqual(map.mappings(from, limit), expected.filter((one) => one.index >= from).slice(0, limit));
  });
  fc.assert(property);
});

test("the rest of a map is asked for when it is needed, by all at once", async () => {
  const asked: number[] = [];
  const fetch = async (from: number): Promise<{ mappings: Mapping[]; mappedBelow: number }> => {
    asked.push(from);
    const mappings = [{ index: from, chunk: from * 10 }];
    return { mappings, mappedBelow: from >= 8 ? wholeMap : from + 4 };
  };
  const map = new ChunkMap([{ index: 1, chunk: 10 }], 4, fetch);
  assert.ok(map.knows(3) && !map.knows(4));
  assert.throws(() => map.get(4));
  await Promise.all([map.load(5), map.load(6)]);
  assert.deepEqual(asked, [4]);
  assert.equal(map.get(4), 40);
  await map.load(1000);
  assert.deepEqual(asked, [4, 8]);
  assert.equal(map.get(5000), undefined);
});
