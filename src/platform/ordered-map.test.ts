/** The ordered map does what a sorted array of entries does. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import * as fc from "fast-check";
import { OrderedMap } from "./ordered-map.ts";

const key = fc.string({ unit: fc.constantFrom("\x00", "a", "b", "\xff"), maxLength: 4 });
const change = fc.record({ key, put: fc.boolean(), value: fc.nat() });

test("small maps", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), key, key, (changes, from, to) => {
      const map = new OrderedMap<number>();
      const model = new Map<string, number>();
      for (const { key, put, value } of changes) {
        if (put) map.set(key, value);
        else assert.equal(map.delete(key), model.has(key));
        if (put) model.set(key, value);
        else model.delete(key);
      }
      const keys = [...model.keys()].filter((key) => key >= from && key < to).sort();
      assert.deepEqual([...map.keysUp(from, to)], keys);
      assert.deepEqual([...map.keysDown(from, to)], keys.reverse());
      assert.equal(map.size, model.size);
    }),
  );
});

for (const order of ["ascending", "descending", "mixed"]) {
  test(`many keys, ${order}`, () => {
    const map = new OrderedMap<number>();
    const name = (n: number) => n.toString().padStart(6, "0");
    const count = 20_000;
    const nth = (n: number) =>
      order === "ascending" ? n : order === "descending" ? count - 1 - n : (n * 7919) % count;
    for (let n = 0; n < count; n++) map.set(name(nth(n)), n);
    for (let n = 0; n < count; n += 2) map.delete(name(nth(n)));
    const left = Array.from({ length: count }, (_, n) => name(n)).filter((key) => map.has(key));
    assert.equal(left.length, count / 2);
    assert.deepEqual([...map.keysUp("", "a")], left);
    assert.deepEqual([...map.keysDown("", "a")], left.toReversed());
    assert.deepEqual(
      [...map.keysUp(name(500), name(900))],
      left.filter((key) => key >= name(500) && key < name(900)),
    );
  });
}
