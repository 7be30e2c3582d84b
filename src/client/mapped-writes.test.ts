/** Pages of mapped memory that are written back: what of them is behind the end of the file doesn't belong to it. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const pageBytes = 4096;
const page = { killPrivileges: false, withinSize: true };

test("a page is cut at the end of the file, wherever another client has put that", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const made = await makeFile(one, "f");
  await two.lookup(two.root, "f");
  const other = await two.open(made.inode, {});
  for (const size of [3000, 100, 0, 2 * pageBytes, pageBytes + 1]) {
    await two.setAttributes(made.inode, { size });
    const bytes = pattern(pageBytes, size);
    for (const offset of [0, pageBytes, 5 * pageBytes]) {
      assert.equal(await one.write(made, offset, bytes, page), pageBytes);
    }
    const expected = Buffer.concat([bytes, bytes]).subarray(0, size);
    assert.deepEqual(Buffer.from(await readAll(two, other)), expected, `${size} bytes`);
  }
  one.close(made);
  two.close(other);
});
