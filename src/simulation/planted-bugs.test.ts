/** The checkers can fail: bugs are planted around the code under test, and each must be found. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { FileSystem, Handle } from "../client/file-system.ts";
import type { DiskFile } from "../platform/disk.ts";
import type { Platform } from "../platform/platform.ts";
import { acquireLease } from "../wire/catalogue/leader.ts";
import { readBlocks } from "../wire/catalogue/store.ts";
import type { Handler } from "../wire/peer.ts";
import type { Hooks } from "./hooks.ts";
import { SimulatedRandom } from "./simulated-random.ts";
import { simulate } from "./simulation.ts";
import { lostWrites, mustBeFound, replaced, withFileSystem, withHandler } from "./testing/planting.ts";

/** Files whose path fits are "synced" at once, without a sync, and their durable writes are plain ones. */
function withoutSync(path: RegExp): Hooks {
  const platform = (_host: string, real: Platform): Platform => {
    const open: Platform["disk"]["open"] = async (file, options) => {
      if (!path.test(file)) return real.disk.open(file, options);
      const opened = await real.disk.open(file, { ...options, durable: false });
      return replaced<DiskFile>(opened, { syncData: async () => {} });
    };
    return { ...real, disk: replaced(real.disk, { open }) };
  };
  return { platform };
}

test("stores that acknowledge before the sync", () => {
  return mustBeFound(() => withoutSync(/\/store\/segments\//), /not linearizable|starts again|equal/);
});

test("a ledger that acknowledges before the sync", () => {
  return mustBeFound(() => withoutSync(/\/ledger\//), /not linearizable|starts again|equal/);
});

test("a write that one member acknowledges and drops", () => {
  return mustBeFound(lostWrites("drops"), /not linearizable|in-sync members are equal|a mapped chunk/);
});

test("a member that answers reads from old copies", () => {
  const hooks = () => {
    const copies = new Map<string, Awaited<ReturnType<Handler<unknown, unknown>>>>();
    return withHandler("beta", readBlocks, (real) => async (body, payload, peer, work) => {
      if (peer.remote.role !== "client") return real(body, payload, peer, work);
      const key = `${body.chunk} ${body.firstBlock} ${body.blockCount}`;
      const answer = copies.get(key) ?? (await real(body, payload, peer, work));
      copies.set(key, answer);
      return answer as Awaited<ReturnType<typeof real>>;
    });
  };
  return mustBeFound(hooks, /not linearizable/, { more: ["overwrite", "read"] });
});

test("an append that takes effect twice, as a resend without memory would", () => {
  const random = new SimulatedRandom("twice");
  const hooks = (): Hooks => {
    const appends = new WeakSet<Handle>();
    return withFileSystem((real) => ({
      async open(inode, flags, signal) {
        const handle = await real.open(inode, flags, signal);
        if (flags.append) appends.add(handle);
        return handle;
      },
      async write(handle, offset, data, options) {
        if (appends.has(handle) && random.chance(0.3)) await real.write(handle, offset, data, options);
        return real.write(handle, offset, data, options);
      },
    }));
  };
  return mustBeFound(hooks, /not linearizable/);
});

test("an exchange of names that moves only one of them", () => {
  const hooks = (): Hooks =>
    withFileSystem((real) => ({
      exchange: (parent, name, newParent, newName) =>
        real.rename(parent, name, newParent, newName, { noReplace: false }),
    }));
  return mustBeFound(hooks, /not linearizable/, { more: ["exchange", "createFile", "lookup", "readDirectory"] });
});

test("a truncate that leaves old bytes behind the new end", () => {
  const hooks = (): Hooks => {
    const tails = new Map<number, { from: number; bytes: Buffer }>();
    const plant = (real: FileSystem): FileSystem =>
      replaced<FileSystem>(real, {
        async setAttributes(inode, change) {
          if (change.size !== undefined) {
            const handle = await real.open(inode, {});
            const bytes = Buffer.concat(await real.read(handle, change.size, 4096 - (change.size % 4096)));
            real.close(handle);
            tails.set(inode, { from: change.size, bytes });
          }
          return real.setAttributes(inode, change);
        },
        // When the file has grown again, where zeros should be, the block still has what it had.
        async read(handle, offset, length) {
          const data = Buffer.concat(await real.read(handle, offset, length));
          const { from, bytes } = tails.get(handle.inode) ?? { from: 0, bytes: Buffer.alloc(0) };
          for (const [index, byte] of bytes.entries()) {
            const at = from + index - offset;
            if (at >= 0 && data[at] === 0) data[at] = byte;
          }
          return [data];
        },
      });
    return { fileSystem: (_client, real) => plant(real) };
  };
  return mustBeFound(hooks, /not linearizable/);
});

test("a client that answers from a cache without a lease", () => {
  const hooks = (): Hooks => ({
    fileSystem(client, real) {
      const cache = new Map<number, ReturnType<FileSystem["getAttributes"]>>();
      const getAttributes: FileSystem["getAttributes"] = (inode) => {
        const answer = cache.get(inode) ?? real.getAttributes(inode);
        cache.set(inode, answer);
        return answer;
      };
      return client === "two" ? replaced<FileSystem>(real, { getAttributes }) : real;
    },
  });
  return mustBeFound(hooks, /not linearizable/);
});

test("a lease that is never granted", () => {
  const random = new SimulatedRandom("never");
  const hooks = () => {
    const plant = (real: Handler<unknown, unknown>): Handler<unknown, unknown> => {
      return (...call) => (random.chance(0.3) ? new Promise(() => {}) : real(...call));
    };
    const planted = (leader: string) => withHandler(leader, acquireLease, plant as never).service!;
    return { service: (name: string) => planted(name === "meta" ? "meta" : "alpha")(name) };
  };
  return mustBeFound(hooks, /liveness|nobody starves/);
});

test("a decision that is not the seed's shows in the digest", async () => {
  const digests = new Set<string>();
  for (let run = 0; run < 2; run++) {
    const platform = (_host: string, real: Platform): Platform => {
      const startTimer: Platform["clock"]["startTimer"] = (delayMs, callback) =>
        real.clock.startTimer(delayMs + Math.random(), callback);
      return { ...real, clock: replaced(real.clock, { startTimer }) };
    };
    digests.add((await simulate({ seed: 1, operations: 20, faults: "none", hooks: { platform } })).digest);
  }
  assert.equal(digests.size, 2);
});
