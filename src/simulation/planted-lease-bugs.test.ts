/** The checkers can fail: bugs of leases, of writing back and of the end of sessions are planted, and each must be found. */
import { test } from "node:test";
import type { FileSystem, Handle, KernelCaches } from "../client/file-system.ts";
import { isChunkKey } from "../namespace/chunk-leases.ts";
import {
  acquireLease,
  acquireLeases,
  heartbeat,
  type LeaseMode,
  lookup,
  releaseLeases,
} from "../wire/catalogue/leader.ts";
import { writeBlocks } from "../wire/catalogue/store.ts";
import type { Peer, Work } from "../wire/peer.ts";
import type { Hooks } from "./hooks.ts";
import { SimulatedRandom } from "./simulated-random.ts";
import { mustBeFound, type Planted, replaced, withClocks, withFileSystem, withService } from "./testing/planting.ts";

const lost = /not linearizable|exclusive lease has one holder|leader knows of all leases|cached records/;
const nothing = new Uint8Array(0);

/** What a leader has granted, as its answers say. */
class Granted {
  readonly #peers = new Map<number, Peer>();
  readonly #grants = new Map<string, { session: number; inode: number; grant: number; mode: LeaseMode }>();

  watch(service: Planted): void {
    service.plant(heartbeat, (real) => (body, payload, peer, work) => {
      this.#peers.set(body.session, peer);
      return real(body, payload, peer, work);
    });
    service.plant(lookup, (real) => async (body, payload, peer, work) => {
      const answer = (await real(body, payload, peer, work)) as Exclude<
        Awaited<ReturnType<typeof real>>,
        { payload: unknown }
      >;
      for (const lease of [answer.parent, answer.child]) {
        if (lease !== undefined) this.granted(body.session, peer, lease.record.attributes.inode, lease);
      }
      return answer;
    });
  }

  /** @param before awaited before a lease that is asked for alone is granted */
  watchSingle(service: Planted, before: (body: Asked, work: Work) => Promise<void>): void {
    service.plant(acquireLease, (real) => async (body, payload, peer, work) => {
      await before(body, work);
      const answer = (await real(body, payload, peer, work)) as Exclude<
        Awaited<ReturnType<typeof real>>,
        { payload: unknown }
      >;
      this.granted(body.session, peer, body.inode, answer);
      return answer;
    });
  }

  granted(session: number, peer: Peer, inode: number, { grant, mode }: { grant: number; mode: LeaseMode }): void {
    this.#peers.set(session, peer);
    this.#grants.set(`${session} ${inode}`, { session, inode, grant, mode });
  }

  /** Takes the leases of others on the inode as given back, which they never were. */
  async takeFromOthers(
    service: Planted,
    session: number,
    inode: number,
    work: Work,
    mode: LeaseMode | undefined,
  ): Promise<void> {
    for (const [key, lease] of this.#grants) {
      if (lease.inode !== inode || lease.session === session || (mode ?? lease.mode) !== lease.mode) continue;
      this.#grants.delete(key);
      const leases = [{ inode, grant: lease.grant, keepShared: false, hold: true }];
      const peer = this.#peers.get(lease.session)!;
      await service.real(releaseLeases)({ session: lease.session, leases }, nothing, peer, work);
    }
  }
}

interface Asked {
  readonly session: number;
  readonly inode: number;
  readonly mode: LeaseMode;
  readonly held: number;
}

/** Leases that are asked for like this are now and then granted without a word to who has them. */
function withLostRecalls(isMeant: (asked: Asked) => boolean, of?: LeaseMode): Hooks {
  const random = new SimulatedRandom("lost recalls");
  return withService((service) => {
    const granted = new Granted();
    granted.watch(service);
    granted.watchSingle(service, async (body, work) => {
      if (!isMeant(body) || !random.chance(0.5)) return;
      await granted.takeFromOthers(service, body.session, body.inode, work, of);
    });
  });
}

test("a lost recall", () => {
  return mustBeFound(() => withLostRecalls(({ mode, held }) => mode === "exclusive" && held === 0), lost);
});

test("an upgrade race: both have read, both write", () => {
  return mustBeFound(() => withLostRecalls(({ mode, held }) => mode === "exclusive" && held > 0), lost);
});

test("a lease that was wished for, and that others have", () => {
  const hooks = () =>
    withService((service) => {
      const granted = new Granted();
      granted.watch(service);
      granted.watchSingle(service, async () => {});
      service.plant(acquireLeases, (real) => async (body, payload, peer, work) => {
        const wished = body.recall ? [] : body.inodes;
        for (const inode of wished) await granted.takeFromOthers(service, body.session, inode, work, undefined);
        return real(body, payload, peer, work);
      });
    });
  return mustBeFound(hooks, lost, { more: ["changeAll", "createFile", "lookup", "getAttributes"] });
});

const overwrites = { more: ["overwrite", "read"], seeds: 60 } as const;

test("a lost recall of a chunk", () => {
  return mustBeFound(() => withLostRecalls(({ inode }) => isChunkKey(inode)), lost, overwrites);
});

test("a split lease that goes on while another client looks at the file, or lets it grow", () => {
  const isMeant = ({ inode, mode }: Asked) => !isChunkKey(inode) && mode === "shared";
  return mustBeFound(() => withLostRecalls(isMeant, "split"), lost, overwrites);
});

test("a stale read after a grant", () => {
  const hooks = () =>
    withFileSystem((real, client) => {
      const old = new Map<string, readonly Uint8Array[]>();
      if (client !== "two") return {};
      return {
        async read(handle, offset, length, signal, options) {
          const key = `${handle.inode} ${offset} ${length}`;
          const data = old.get(key) ?? (await real.read(handle, offset, length, signal, options));
          old.set(
            key,
            data.map((part) => Buffer.from(part)),
          );
          return data;
        },
      };
    });
  return mustBeFound(hooks, lost, { more: ["load", "store", "write"] });
});

/** The kernel is told only what `plant` lets through. */
function withDeafKernel(plant: (real: KernelCaches) => Partial<KernelCaches>): Hooks {
  return withFileSystem((real) => ({ attach: (caches) => real.attach(replaced(caches, plant(caches))) }));
}

test("kernel attributes kept after a recall", () => {
  return mustBeFound(() => withDeafKernel(() => ({ forgetAttributes() {} })), lost);
});

test("kernel names kept after a recall", () => mustBeFound(() => withDeafKernel(() => ({ forgetNames() {} })), lost));

test("pages of mapped memory kept after a recall", () => {
  const hooks = () => withDeafKernel(() => ({ forgetPages: async () => {} }));
  return mustBeFound(hooks, lost, { more: ["load", "store", "write"] });
});

test("an fsync that is answered early", () => {
  const hooks = () => withFileSystem(() => ({ sync: async () => {} }));
  const search = { faults: { clientCrash: 1 }, more: ["sync", "write", "createFile"] } as const;
  return mustBeFound(hooks, lost, search);
});

test("an fdatasync that is answered early", () => {
  const hooks = () =>
    withFileSystem((real) => ({
      sync: async (handle, signal, scope) => {
        if (scope !== "data") await real.sync(handle, signal, scope);
      },
    }));
  const more = ["sync", "overwrite", "write", "createFile"] as const;
  return mustBeFound(hooks, lost, { faults: { clientCrash: 1 }, more, firstSeed: 11 });
});

test("metadata sent before its data", () => {
  const hooks = (): Hooks => {
    const { hooks: clocks, clockOf } = withClocks();
    const plants = withService((service, server) => {
      service.plant(writeBlocks, (real) => (body, payload, peer, work) => {
        const kept = Buffer.from(payload);
        clockOf(server).startTimer(150, () => {
          // The client is gone before it has sent what it should have sent first.
          if (!peer.closed) void Promise.resolve(real(body, kept, peer, work)).catch(() => {});
        });
        return { failed: [] };
      });
    });
    return { ...clocks, ...plants };
  };
  return mustBeFound(hooks, /not linearizable/, { faults: { clientCrash: 1 }, more: ["write"] });
});

test("a rename that takes effect twice, as a resend without memory would", () => {
  const random = new SimulatedRandom("twice");
  const hooks = (): Hooks => {
    const { hooks: clocks, clockOf } = withClocks();
    const plants = withFileSystem((real, client) => ({
      async rename(...call) {
        await real.rename(...call);
        const again = async () => real.rename(...call);
        if (random.chance(0.5)) clockOf(client).startTimer(30, () => void again().catch(() => {}));
      },
    }));
    return { ...clocks, ...plants };
  };
  return mustBeFound(hooks, lost, { more: ["rename", "createFile", "lookup"] });
});

test("an append log with a wrong offset", () => {
  const places = new WeakMap<Handle, { handle: Handle; end: number }>();
  const hooks = () =>
    withFileSystem((real) => ({
      async open(inode, flags, signal) {
        const handle = await real.open(inode, flags, signal);
        if (flags.append) {
          const { attributes } = await real.getAttributes(inode);
          places.set(handle, { handle: await real.open(inode, {}), end: attributes.size });
        }
        return handle;
      },
      async write(handle, offset, data, options, signal) {
        const place = places.get(handle);
        if (place === undefined) return real.write(handle, offset, data, options, signal);
        const written = await real.write(place.handle, place.end, data, options, signal);
        place.end += written;
        return written;
      },
    }));
  return mustBeFound(hooks, lost, { more: ["append", "open"] });
});

test("an unlinked file that is freed while the other mount has it open", () => {
  const hooks = () =>
    withService((service) => {
      service.plant(releaseLeases, (real) => (body, ...rest) => {
        const leases = body.leases.map((lease) => ({ ...lease, hold: false }));
        return real({ ...body, leases }, ...rest);
      });
    });
  return mustBeFound(hooks, lost, { more: ["open", "unlink", "read"] });
});

test("crossing renames of directories that tie a loop", () => {
  // Each is right for itself; nobody looks at both.
  const hooks = (): Hooks => {
    const moved = new Set<string>();
    return withFileSystem((real: FileSystem) => ({
      async rename(parent, name, newParent, newName, flags, signal) {
        try {
          await real.rename(parent, name, newParent, newName, flags, signal);
        } catch (error) {
          if ((error as { code?: string }).code !== "EINVAL") throw error;
          moved.add(`${parent}/${name}`);
        }
      },
      async lookup(parent, name, signal) {
        return moved.has(`${parent}/${name}`) ? undefined : real.lookup(parent, name, signal);
      },
    }));
  };
  return mustBeFound(hooks, lost, { more: ["rename", "makeDirectory", "lookup"] });
});
