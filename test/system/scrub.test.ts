/** Bytes of stores' segments change on disk: a scrub finds and repairs them; what is bad everywhere is EIO, named by file and offset. */
import { strict as assert } from "node:assert";
import { closeSync, fstatSync, globSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, runBrine, runProgram, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const blockBytes = 4096;

/** Ends by SIGBUS when it touches the byte at the offset, having found what is before it good. */
const readMapped = `
import mmap, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
file, at = open(sys.argv[1], "rb"), int(sys.argv[2])
memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
if memory[at - 4096 : at] == os.pread(file.fileno(), 4096, at - 4096): print("good", end="", flush=True)
print(memory[at])
`;

/** Blocks that can be told from each other. */
function content(name: string, blocks: number): Buffer {
  return Buffer.concat(
    Array.from({ length: blocks }, (_, at) => Buffer.alloc(blockBytes, `${name} block ${at} of brine `)),
  );
}

/** Flips a bit in every block of a store's segments that begins so; returns how many there were. */
function spoil(dataDirectory: string, start: string): number {
  let spoilt = 0;
  for (const name of globSync("store/segments/*.segment", { cwd: dataDirectory })) {
    const file = openSync(join(dataDirectory, name), "r+");
    const bytes = Buffer.alloc(fstatSync(file).size);
    readSync(file, bytes, 0, bytes.byteLength, 0);
    for (let at = 0; at < bytes.byteLength; at += blockBytes) {
      if (!bytes.subarray(at, at + start.length).equals(Buffer.from(start))) continue;
      writeSync(file, Buffer.from([bytes[at + 100]! ^ 1]), 0, 1, at + 100);
      spoilt++;
    }
    closeSync(file);
  }
  return spoilt;
}

test("a scrub repairs what has rotted; what is bad everywhere is named, and all else is readable", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context);
  const scrub = (...more: string[]) => runBrine(["scrub", cluster.addresses[0]!, "--watch", ...more]);
  const mount = await cluster.mount("mnt");
  const { point } = mount;
  const files = ["one", "two", "three"];
  for (const name of files) writeFileSync(join(point, name), content(name, 16), { flush: true });
  await mount.unmount();

  // On one store half of a file, on the other a third of another one: nobody reads either.
  for (const at of [0, 2, 4, 6]) assert.equal(spoil(cluster.data(0), `one block ${at} `), 1);
  for (const at of [1, 9]) assert.equal(spoil(cluster.data(1), `two block ${at} `), 1);
  const first = await scrub();
  assert.match(first.stdout, /store 1: .* read: 4 bad blocks, 4 of them repaired/);
  assert.match(first.stdout, /store 2: .* read: 2 bad blocks, 2 of them repaired/);
  const { servers, problems, badRanges } = await cluster.status();
  assert.deepEqual(
    servers.map((server: { badBlocks: number }) => server.badBlocks),
    [4, 2],
  );
  assert.deepEqual(
    servers.map((server: { repairedBlocks: number }) => server.repairedBlocks),
    [4, 2],
  );
  assert.deepEqual([problems, badRanges], [[], []]);
  const second = await scrub("--store", "2", "--volume", "home");
  assert.match(second.stdout, /store 2: .*no bad blocks/);

  // One block has no good copy left.
  for (const server of [0, 1]) assert.equal(spoil(cluster.data(server), "three block 5 "), 1);
  const third = await scrub();
  assert.equal(third.code, 1, third.stderr);
  assert.match(third.stdout, /No good copy is left of home:\/three, 4096 bytes at offset 20480 \(stores 1, 2\)/);
  const again = await cluster.mount("mnt");
  for (const name of ["one", "two"]) assert.ok(readFileSync(join(again.point, name)).equals(content(name, 16)), name);
  const file = openSync(join(again.point, "three"), "r+");
  const block = Buffer.alloc(blockBytes);
  for (let at = 0; at < 16; at++) {
    const read = () => readSync(file, block, 0, blockBytes, at * blockBytes);
    if (at === 5) assert.throws(read, { code: "EIO" });
    else {
      assert.equal(read(), blockBytes);
      assert.ok(block.equals(content("three", 16).subarray(at * blockBytes, (at + 1) * blockBytes)), `block ${at}`);
    }
  }
  // A read of more ends before the bad block, and fails if it begins there. Memory that is mapped has it whole or not at all.
  const all = Buffer.alloc(16 * blockBytes);
  assert.equal(readSync(file, all, 0, 16 * blockBytes, 0), 5 * blockBytes);
  assert.ok(all.subarray(0, 5 * blockBytes).equals(content("three", 16).subarray(0, 5 * blockBytes)));
  assert.equal(readSync(file, all, 0, 4 * blockBytes, 3 * blockBytes + 100), 2 * blockBytes - 100);
  assert.throws(() => readSync(file, all, 0, 4 * blockBytes, 5 * blockBytes + 100), { code: "EIO" });
  assert.equal(readSync(file, all, 0, 16 * blockBytes, 6 * blockBytes), 10 * blockBytes);
  const mapped = await runProgram("python3", ["-c", readMapped, join(again.point, "three"), String(5 * blockBytes)]);
  assert.deepEqual([mapped.stdout, mapped.code], ["good", 137], mapped.stderr);
  const found = (await cluster.status()).badRanges;
  assert.deepEqual(
    found.map(({ path, offset, length, isLost }: Record<string, unknown>) => ({ path, offset, length, isLost })),
    [{ path: "/three", offset: 5 * blockBytes, length: blockBytes, isLost: true }],
  );
  // Written anew, it is good.
  writeSync(file, content("three", 16), 5 * blockBytes, blockBytes, 5 * blockBytes);
  closeSync(file);
  await again.unmount();
  await waitFor("status to say that all is well", async () => {
    const status = await cluster.status();
    return status.badRanges.length === 0 && status.problems.length === 0;
  });
});
