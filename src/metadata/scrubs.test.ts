/** Whose bytes are bad: what stores say of chunks, as ranges of files. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Harness } from "./testing/harness.ts";

test("ranges are cut where other stores are bad; where all in sync are, the bytes are lost", async () => {
  const harness = await Harness.start();
  const [a, b] = [await harness.addStore("a"), await harness.addStore("b")];
  await harness.addVolume("home", 2);
  const client = await harness.mount("one", "home");
  const chunk = await client.write(await client.create("file"));
  const range = (firstBlock: number, blockCount: number) => ({ chunk, firstBlock, blockCount });
  harness.beat(a.store, a.peer, { badRanges: [range(0, 4), range(8, 1)] });
  harness.beat(b.store, b.peer, { badRanges: [range(2, 1), range(3, 3), { ...range(0, 1), chunk: chunk + 1 }] });
  const found = harness.parts.admin.status().badRanges.map(({ offset, length, stores, isLost, path }) => {
    return `${path} ${offset / 4096}+${length / 4096} ${stores}${isLost ? " lost" : ""}`;
  });
  assert.deepEqual(found, ["/file 0+2 1", "/file 2+2 1,2 lost", "/file 4+2 2", "/file 8+1 1"]);
});
