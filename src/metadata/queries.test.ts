import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { roomFor } from "./queries.ts";

test("what fits on disks of different sizes in so many copies", () => {
  assert.equal(roomFor(2, [1000, 100, 100]), 200);
  assert.equal(roomFor(2, [500, 500, 500]), 750);
  assert.equal(roomFor(2, [512, 512, 256]), 640);
  assert.equal(roomFor(1, [7, 5]), 12);
  assert.equal(roomFor(3, [900, 800, 10]), 10);
  assert.equal(roomFor(2, [300, 0, 0]), 0);
  assert.equal(roomFor(0, []), 0);
});

test("it is the most of which each disk can have one copy at most", () => {
  const disks = fc.array(fc.nat(200), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(disks, fc.integer({ min: 1, max: 4 }), (sizes, wanted) => {
      const copies = Math.min(wanted, sizes.length);
      // Of `bytes` a disk takes one copy, or what it has room for.
      const fits = (bytes: number): boolean =>
        sizes.reduce((sum, size) => sum + Math.min(size, bytes), 0) >= copies * bytes - 1e-9;
      const room = roomFor(copies, sizes);
      assert.ok(fits(room), `${room} fits`);
      assert.ok(!fits(room + 1e-3), `no more than ${room} fits`);
    }),
  );
});
