/** Property: whatever is written, truncated and read, through one client or two, a file is what a plain buffer is. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { blockBytes, chunkBytes } from "../namespace/model.ts";
import type { Client } from "./client.ts";
import type { Handle } from "./file-system.ts";
import { keepPrivileges, pattern, TestCluster } from "./testing/test-cluster.ts";

type Step =
  | { kind: "write"; client: number; offset: number; length: number; seed: number }
  | { kind: "append"; client: number; length: number; seed: number }
  | { kind: "truncate"; client: number; size: number }
  | { kind: "read"; client: number; offset: number; length: number };

/** Around the places where something changes: block and chunk bounds. */
const place = fc.oneof(
  fc.nat(3 * blockBytes),
  fc.nat(200).map((distance) => chunkBytes - 100 + distance),
  fc.nat(2 * chunkBytes + 5000),
  fc.constantFrom(0, blockBytes, chunkBytes - blockBytes, chunkBytes, chunkBytes + blockBytes),
);
const length = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 70_000 }));
const client = fc.nat(1);
const seed = fc.nat(1000);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("write" as const), client, offset: place, length, seed }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("append" as const), client, length, seed }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("truncate" as const), client, size: place }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("read" as const), client, offset: place, length }) },
);

/** A file as it should be. */
class Model {
  bytes = Buffer.alloc(0);

  write(offset: number, data: Buffer): void {
    const grown = Buffer.alloc(Math.max(this.bytes.length, offset + data.length));
    this.bytes.copy(grown);
    data.copy(grown, offset);
    this.bytes = grown;
  }

  truncate(size: number): void {
    const cut = Buffer.alloc(size);
    this.bytes.copy(cut);
    this.bytes = cut;
  }
}

async function check(clients: readonly Client[], name: string, steps: readonly Step[]): Promise<void> {
  const [first] = clients as [Client];
  const made = await first.create(first.root, name, { type: "file", mode: 0o644, uid: 0, gid: 0 });
  const handles: Handle[] = [];
  const appending: Handle[] = [];
  for (const one of clients) {
    assert.equal((await one.lookup(one.root, name))?.inode, made.inode);
    handles.push(await one.open(made.inode, {}));
    appending.push(await one.open(made.inode, { append: true }));
  }
  const model = new Model();
  for (const one of [...steps, { kind: "read", client: 0, offset: 0, length: 3 * chunkBytes } as const]) {
    const who = clients[one.client]!;
    if (one.kind === "write") {
      const data = pattern(one.length, one.seed);
      assert.equal(await who.write(handles[one.client]!, one.offset, data, keepPrivileges), one.length);
      model.write(one.offset, data);
    } else if (one.kind === "append") {
      const data = pattern(one.length, one.seed);
      await who.write(appending[one.client]!, 7, data, keepPrivileges);
      model.write(model.bytes.length, data);
    } else if (one.kind === "truncate") {
      await who.setAttributes(made.inode, { size: one.size });
      model.truncate(one.size);
    } else {
      const got = Buffer.concat((await who.read(handles[one.client]!, one.offset, one.length)) as Uint8Array[]);
      const want = model.bytes.subarray(one.offset, one.offset + one.length);
      assert.equal(got.length, want.length);
      assert.ok(got.equals(want), "other bytes than the model's");
    }
  }
  const { attributes } = await first.getAttributes(made.inode);
  assert.equal(attributes.size, model.bytes.length);
  for (const [index, one] of clients.entries()) {
    one.close(handles[index]!);
    one.close(appending[index]!);
  }
  await first.unlink(first.root, name);
}

async function run(context: TestContext, clientCount: number): Promise<void> {
  const cluster = await TestCluster.start(context);
  const clients: Client[] = [];
  while (clients.length < clientCount) clients.push(await cluster.mount());
  let number = 0;
  const property = fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
    const own = steps.map((one) => ({ ...one, client: one.client % clientCount }));
    await check(clients, `file ${number++}`, own);
  });
  await fc.assert(property, { numRuns: 30 });
}

test("one client", (context) => run(context, 1));

test("two clients by turns", (context) => run(context, 2));
