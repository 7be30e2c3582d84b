/** What one mount has finished, another mount sees: data, sizes, names, attributes. */
import { strict as assert } from "node:assert";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, full, shell, undo, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const rounds = full ? 3_000 : 150;

test("a reader on the other mount never sees anything old", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const a = openSync(join(one.point, "file"), "w+");
  const b = openSync(join(two.point, "file"), "r+");
  undo(context, () => {
    closeSync(a);
    closeSync(b);
  });
  for (let round = 0; round < rounds; round++) {
    const [writer, reader] = round % 2 === 0 ? [a, b] : [b, a];
    const [from, to] = round % 2 === 0 ? [one.point, two.point] : [two.point, one.point];
    const text = `round ${round} `.repeat(1 + (round % 700));
    writeSync(writer, text, 0);
    const buffer = Buffer.alloc(text.length);
    readSync(reader, buffer, 0, buffer.length, 0);
    assert.equal(buffer.toString(), text);

    truncateSync(join(from, "file"), round * 13);
    assert.equal(statSync(join(to, "file")).size, round * 13);
    writeFileSync(join(from, `new${round}`), text);
    assert.equal(readFileSync(join(to, `new${round}`), "latin1"), text);
    renameSync(join(to, `new${round}`), join(to, "renamed"));
    assert.equal(existsSync(join(from, `new${round}`)), false);
    assert.ok(readdirSync(from).includes("renamed"));
    chmodSync(join(from, "renamed"), 0o600 + (round % 64));
    assert.equal(statSync(join(to, "renamed")).mode & 0o777, 0o600 + (round % 64));
    utimesSync(join(to, "renamed"), round, round + 0.5);
    assert.equal(statSync(join(from, "renamed")).mtimeMs, round * 1000 + 500);
    mkdirSync(join(from, "dir"));
    rmdirSync(join(to, "dir"));
    unlinkSync(join(from, "renamed"));
    assert.deepEqual(readdirSync(to), ["file"]);
  }
});

test("bytes of one block written from two mounts at the same time are all kept", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  writeFileSync(join(one.point, "file"), Buffer.alloc(8192));
  // Every odd byte from one mount, every even byte from the other, each with a write of its own.
  const count = full ? 8192 : 600;
  const script = (first: number) =>
    `import os,sys
f=os.open(sys.argv[1],os.O_RDWR)
for i in range(${first},${count},2): os.pwrite(f,bytes([1+i%255]),i)`;
  await Promise.all([
    shell(`python3 -c '${script(0)}' ${one.point}/file`, { timeoutMs: 120_000 }),
    shell(`python3 -c '${script(1)}' ${two.point}/file`, { timeoutMs: 120_000 }),
  ]);
  const content = readFileSync(join(one.point, "file"));
  for (let index = 0; index < count; index++) assert.equal(content[index], 1 + (index % 255), `byte ${index}`);
});

test("appends from two mounts are all there, each line once", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const count = full ? 2_000 : 100;
  const script = (who: string) => `for i in $(seq ${count}); do echo "${who} $i" >> log; done`;
  await Promise.all([
    shell(`cd ${one.point}; ${script("one")}`, { timeoutMs: 120_000 }),
    shell(`cd ${two.point}; ${script("two")}`, { timeoutMs: 120_000 }),
  ]);
  appendFileSync(join(one.point, "log"), "");
  const lines = readFileSync(join(two.point, "log"), "latin1").trim().split("\n");
  assert.equal(lines.length, 2 * count);
  assert.equal(new Set(lines).size, 2 * count);
});

test("a file unlinked on one mount stays readable where it is open on the other", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  writeFileSync(join(one.point, "file"), "open elsewhere");
  const open = openSync(join(two.point, "file"), "r+");
  unlinkSync(join(one.point, "file"));
  assert.equal(existsSync(join(two.point, "file")), false);
  writeSync(open, "OPEN", 0);
  assert.equal(readFileSync(open, "latin1"), "OPEN elsewhere");
  closeSync(open);
});
