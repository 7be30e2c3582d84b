/** A fake leader, fake stores and real clients in one process, over loopback. */
import { strict as assert } from "node:assert";
import type { TestContext } from "node:test";
import type { Platform } from "../../platform/platform.ts";
import { realPlatform } from "../../platform/real.ts";
import { Client, type MountOptions } from "../client.ts";
import type { Handle } from "../file-system.ts";
import { FakeLeader } from "./fake-leader.ts";
import { FakeStore } from "./fake-store.ts";

export const file = { type: "file", mode: 0o644, uid: 0, gid: 0 } as const;
export const keepPrivileges = { killPrivileges: false };

export class FakeCluster {
  readonly platform: Platform;
  readonly lines: string[] = [];
  readonly stores: FakeStore[] = [];
  readonly leader: FakeLeader;
  readonly #clients: Client[] = [];

  private constructor(storeCount: number) {
    this.platform = realPlatform({ logLevel: "debug", logTo: (line) => this.lines.push(line) });
    for (let store = 1; store <= storeCount; store++) this.stores.push(new FakeStore(this.platform, store));
    this.leader = new FakeLeader(this.platform, this.stores);
  }

  /** Stopped when the test ends, however it does. */
  static async start(context: TestContext, options: { stores?: number; groups?: number } = {}): Promise<FakeCluster> {
    const cluster = new FakeCluster(options.stores ?? 2);
    context.after(() => cluster.stop());
    for (const store of cluster.stores) await store.start();
    await cluster.leader.start(options.groups ?? 3);
    return cluster;
  }

  async mount(options: Partial<MountOptions> = {}): Promise<Client> {
    const leaders = [this.leader.address];
    const client = await Client.mount(this.platform, { leaders, volume: "home", host: "test", ...options });
    this.#clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.unmount()));
    await this.leader.stop();
    for (const store of this.stores) await store.stop();
  }

  /** The same blocks with the same content on all stores. */
  assertMembersEqual(): void {
    const [first, ...others] = this.stores;
    const { namespace, volume } = this.leader;
    for (let inode = 1; inode < 5000; inode++) {
      if (namespace.inode(volume, inode) === undefined) continue;
      for (const { chunk } of namespace.mappings(volume, inode, 0, 1000).mappings) {
        for (const other of others) {
          for (let block = 0; block < 1024; block++) {
            const left = first!.chunks.get(chunk)?.get(block)?.data ?? zeroBlock;
            const right = other.chunks.get(chunk)?.get(block)?.data ?? zeroBlock;
            assert.ok(left.equals(right), `block ${block} of chunk ${chunk} differs on store ${other.store}`);
          }
        }
      }
    }
  }
}

const zeroBlock = Buffer.alloc(4096);

/** Makes a file in the root and opens it. */
export async function makeFile(client: Client, name: string): Promise<Handle> {
  return (await client.createAndOpen(client.root, name, file, {})).handle;
}

export async function readAll(client: Client, handle: Handle, offset = 0, length = 1 << 20): Promise<Buffer> {
  return Buffer.concat((await client.read(handle, offset, length)) as Uint8Array[]);
}

export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + seed * 97 + (index >>> 8)) & 0xff;
  return bytes;
}

/** Waits until `condition` holds; fails after some seconds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; round < 1000; round++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail("waited in vain");
}
