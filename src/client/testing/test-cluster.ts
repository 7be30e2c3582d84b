/** A metadata server, two stores and clients in one process, over loopback, with their data in memory's file system. */
import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { MetadataServer } from "../../metadata/metadata-server.ts";
import type { Timeouts } from "../../metadata/timeouts.ts";
import type { Address } from "../../platform/network.ts";
import type { Platform } from "../../platform/platform.ts";
import { realPlatform } from "../../platform/real.ts";
import { StoreServer } from "../../store/store-server.ts";
import { createVolume, readStatus } from "../../wire/catalogue/admin.ts";
import { connectPeer } from "../../wire/connect.ts";
import { listenPeers } from "../../wire/listen.ts";
import type { Method } from "../../wire/method.ts";
import { Service } from "../../wire/service.ts";
import { Client, type MountOptions } from "../client.ts";
import type { Handle } from "../file-system.ts";

export const file = { type: "file", mode: 0o644, uid: 0, gid: 0 } as const;
export const directory = { type: "directory", mode: 0o755, uid: 0, gid: 0 } as const;
export const keepPrivileges = { killPrivileges: false };

const storesTimeoutMs = 20_000;
const clusterId = "c".repeat(32);

export class TestCluster {
  readonly platform: Platform;
  readonly lines: string[] = [];
  readonly #path: string;
  /** Of the metadata server. */
  readonly #timeouts: Partial<Timeouts>;
  readonly #undo: (() => Promise<unknown>)[] = [];
  #leader: Address = "";

  private constructor(timeouts: Partial<Timeouts>) {
    this.#timeouts = timeouts;
    this.platform = realPlatform({ logLevel: "info", logTo: (line) => this.lines.push(line) });
    this.#path = mkdtempSync(join(tmpdir(), "brine-client-"));
  }

  /** Stopped when the test ends, however it does. */
  static async start(context: TestContext, timeouts: Partial<Timeouts> = {}): Promise<TestCluster> {
    const cluster = new TestCluster(timeouts);
    context.after(() => cluster.#stop());
    await cluster.#server("a", true);
    await cluster.#server("b", false);
    await cluster.#makeVolume();
    return cluster;
  }

  get leaders(): Address[] {
    return [this.#leader];
  }

  async mount(options: Partial<MountOptions> = {}): Promise<Client> {
    const client = await Client.mount(this.platform, {
      leaders: this.leaders,
      volume: "home",
      host: "test",
      ...options,
    });
    this.#undo.push(() => client.unmount());
    return client;
  }

  /** As an administrator. */
  async ask<Q, R>(method: Method<Q, R>, body: Q): Promise<R> {
    const identity = { role: "admin", clusterId: "", peerId: "", description: "test" } as const;
    const admin = await connectPeer(this.platform, this.#leader, identity, new Service(), 5_000);
    try {
      return (await admin.request(method, body, { timeoutMs: 20_000 })).body;
    } finally {
      admin.close("done");
    }
  }

  async #server(name: string, isLeader: boolean): Promise<void> {
    const service = new Service();
    const ids = { clusterId, serverId: name.repeat(32) };
    const listener = await listenPeers(this.platform, "127.0.0.1:0", { identity: () => ids, service });
    this.#undo.push(() => listener.close());
    const { address } = listener;
    if (isLeader) {
      this.#leader = address;
      const metadata = await MetadataServer.start(this.platform, {
        ...{ directory: `${this.#path}/${name}/metadata`, ...ids, address, pid: 1, createCluster: true },
        timeouts: this.#timeouts,
      });
      this.#undo.push(() => metadata.stop());
      metadata.register(service);
    }
    const store = await StoreServer.start(this.platform, {
      directory: `${this.#path}/${name}/store`,
      ...ids,
      address,
      leaders: [this.#leader],
      pid: 1,
      roles: ["store"],
    });
    this.#undo.push(() => store.stop());
    store.register(service);
  }

  async #makeVolume(): Promise<void> {
    const { clock } = this.platform;
    const deadlineMs = clock.nowMs() + storesTimeoutMs;
    for (;;) {
      const { servers } = await this.ask(readStatus, {});
      if (servers.filter(({ roles, state }) => roles.includes("store") && state === "online").length === 2) break;
      assert.ok(clock.nowMs() < deadlineMs, "the stores did not come up");
      await new Promise((resolve) => clock.startTimer(20, () => resolve(undefined)));
    }
    await this.ask(createVolume, { name: "home", replicas: 2, inSyncMin: 1, uid: 0, gid: 0, mode: 0o755 });
  }

  async #stop(): Promise<void> {
    for (const undo of this.#undo.reverse()) await undo();
    rmSync(this.#path, { recursive: true, force: true });
  }
}

/** Makes a file in the root and opens it. */
export async function makeFile(client: Client, name: string): Promise<Handle> {
  return (await client.createAndOpen(client.root, name, file, {})).handle;
}

export async function readAll(client: Client, handle: Handle, offset = 0, length = 1 << 20): Promise<Buffer> {
  return Buffer.concat((await client.read(handle, offset, length)) as Uint8Array[]);
}

export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (seed + index * 7 + (index >>> 8)) & 0xff;
  return bytes;
}
