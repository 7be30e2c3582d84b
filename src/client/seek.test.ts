/** SEEK_DATA and SEEK_HOLE against a model, on the client that writes and on another one. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { FileError } from "../errors/file-error.ts";
import { blockBytes, chunkBytes } from "../namespace/model.ts";
import type { Client } from "./client.ts";
import { file, pattern, TestCluster } from "./testing/test-cluster.ts";

const blocks = (3 * chunkBytes) / blockBytes;

/** Where the next block of the kind begins, as the client says; undefined: ENXIO. */
function sought(client: Client, handle: Awaited<ReturnType<Client["open"]>>, offset: number, what: "data" | "hole") {
  return client.seek(handle, offset, what).catch((error: FileError) => {
    if (error.code !== "ENXIO") throw error;
    return undefined;
  });
}

function expected(
  written: ReadonlySet<number>,
  size: number,
  offset: number,
  what: "data" | "hole",
): number | undefined {
  if (offset >= size) return undefined;
  for (let block = Math.floor(offset / blockBytes); block * blockBytes < size; block++) {
    if (written.has(block) === (what === "data")) return Math.max(offset, block * blockBytes);
  }
  return what === "hole" ? size : undefined;
}

function hasHolesInChunks(written: ReadonlySet<number>, size: number): boolean {
  const chunkOf = (block: number) => Math.floor((block * blockBytes) / chunkBytes);
  const mapped = new Set([...written].map(chunkOf));
  for (let block = 0; block * blockBytes < size; block++)
    if (mapped.has(chunkOf(block)) && !written.has(block)) return true;
  return false;
}

test("data is what was written, block by block, wherever it is now", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const write = fc.record({ block: fc.nat(blocks - 9), count: fc.integer({ min: 1, max: 8 }), sync: fc.boolean() });
  const offsets = fc.array(fc.nat(blocks * blockBytes), { minLength: 4, maxLength: 4 });
  let number = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 6 }), offsets, async (writes, asked) => {
      const name = `f${number++}`;
      const { handle } = await one.createAndOpen(one.root, name, file, {});
      const written = new Set<number>();
      let size = 0;
      for (const { block, count, sync } of writes) {
        await one.write(handle, block * blockBytes, pattern(count * blockBytes, block), { killPrivileges: false });
        for (let at = block; at < block + count; at++) written.add(at);
        size = Math.max(size, (block + count) * blockBytes);
        if (sync) await one.sync(handle);
      }
      const check = async (client: Client, at: typeof handle, who: string) => {
        for (const offset of [0, ...asked]) {
          for (const what of ["data", "hole"] as const) {
            const found = await sought(client, at, offset, what);
            assert.equal(found, expected(written, size, offset, what), `${what} from ${offset} on ${who}`);
          }
        }
      };
      await check(one, handle, "the client that wrote");
      const { attributes } = await one.getAttributes(handle.inode);
      assert.ok(attributes.hasHoles || !hasHolesInChunks(written, size), "stat(2) is told");
      const other = await two.open((await two.lookup(two.root, name))!.inode, {});
      await check(two, other, "another client");
      one.close(handle);
      two.close(other);
    }),
    { numRuns: 25 },
  );
});

test("what was punched is a hole at once, and everywhere", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const { handle } = await one.createAndOpen(one.root, "punched", file, {});
  const size = 64 * blockBytes;
  await one.write(handle, 0, pattern(size, 1), { killPrivileges: false });
  await one.sync(handle);
  // From the middle of a block to the middle of another one: 20 whole blocks between.
  await one.allocate(handle, {
    offset: 9.5 * blockBytes,
    length: 21 * blockBytes,
    zero: true,
    grow: false,
  });
  const check = async (client: Client, at: typeof handle, who: string) => {
    assert.equal(await sought(client, at, 0, "hole"), 10 * blockBytes, who);
    assert.equal(await sought(client, at, 10 * blockBytes, "data"), 30 * blockBytes, who);
    assert.equal(await sought(client, at, 30 * blockBytes, "hole"), size, who);
  };
  await check(one, handle, "dirty");
  await one.sync(handle);
  await check(one, handle, "synced");
  const other = await two.open((await two.lookup(two.root, "punched"))!.inode, {});
  await check(two, other, "another client");
});
