/**
 * A client is stopped for longer than its session lasts while a program on its machine looks at mapped memory, and another
 * client writes the file. What the program sees is judged as in every simulation. Rarely met by chance: so it is staged.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { HindsightChecker } from "./checkers/hindsight.ts";
import { layoutFor, rootMode, SimulatedCluster } from "./cluster.ts";
import type { Hooks } from "./hooks.ts";
import { Model } from "./model.ts";
import { owner } from "./model-operations.ts";
import { Recorder } from "./recorder.ts";
import type { ClientMount } from "./simulated-mount.ts";
import { World } from "./simulated-platform.ts";
import { SimulatedRandom } from "./simulated-random.ts";
import { replaced, withFileSystem } from "./testing/planting.ts";

/** Beyond the session, its margin, its fencing, and the write of the other client. */
const stoppedMs = 16_000;
const limitMs = 120_000;
const lookEveryMs = 100;
const seeds = 6;

interface Staged {
  /** The program changes its memory as well, when the client is being stopped. */
  readonly changes: boolean;
  readonly hooks?: Hooks;
}

interface Seen {
  /** How often the guard cut the mount off. */
  readonly cuts: number;
  /** Looks at the memory that were answered while the client was stopped. */
  readonly looks: number;
  /** Errors that the program was told. */
  readonly errors: readonly string[];
}

/** Errors: Violation. */
async function stage(seed: number, { changes, hooks = {} }: Staged): Promise<Seen> {
  const world = new World(seed, "error");
  const { scheduler } = world;
  const random = new SimulatedRandom(`stopped ${seed}`);
  let checker: HindsightChecker | undefined;
  const cluster = new SimulatedCluster(world, layoutFor({}, random), ["one", "two"], hooks, {
    onClientDeath: () => {},
    onSessionAtRisk: (mount) => checker?.sessionAtRisk(mount),
    onDefect: (error) => assert.fail(error),
  });
  const wait = (ms: number) => new Promise<void>((resolve) => scheduler.schedule(ms * 1_000, "wait", resolve));

  const story = async (): Promise<Seen> => {
    await cluster.start();
    const [one, two] = cluster.clients as [SimulatedCluster["clients"][0], SimulatedCluster["clients"][0]];
    const [first, other] = [await one.mount(), await two.mount()];
    checker = new HindsightChecker(Model.withRoot(first.root, rootMode, owner.uid, owner.gid));
    const errors: string[] = [];
    const recorder = new Recorder(scheduler, checker, (mount, errno) => {
      if (mount.name !== first.name || !["EIO", "ESTALE", "ENOTCONN"].includes(errno)) return "no";
      errors.push(errno);
      return "mayHaveHappened";
    });
    const file = { parent: first.root, name: "f", type: "file", mode: 0o644, target: "", open: true } as const;
    const created = await recorder.perform(first, { kind: "create", ...file });
    assert.ok(created.outcome.kind === "attributes" && created.opened !== undefined);
    const { inode } = created.outcome.attributes;
    const { handle, openedBy } = created.opened;
    const write = (mount: ClientMount) =>
      recorder.perform(mount, { kind: "write", inode, offset: 0, length: 4_096, tag: recorder.nextId });
    const load = (mount: ClientMount, through?: typeof handle) =>
      recorder.perform(mount, { kind: "load", inode, offset: 100, length: 50 }, through);
    await recorder.perform(first, { kind: "lookup", parent: first.root, name: "f" });
    await write(first);
    await recorder.perform(first, { kind: "sync", inode, handle: openedBy }, handle);
    await load(first, handle);

    let storing: Promise<unknown> = Promise.resolve();
    if (changes) {
      const store = { kind: "store", inode, offset: 200, length: 50, tag: recorder.nextId } as const;
      storing = recorder.perform(first, store, handle);
      await wait(random.below(200) / 1_000);
    }
    one.silentFor(stoppedMs);
    one.host.incarnation!.pause();
    let [isStopped, looks] = [true, 0];
    const looking = (async () => {
      while (isStopped && !first.kernel.isCut) {
        await load(first, handle);
        if (isStopped) looks += 1;
        await wait(lookEveryMs);
      }
    })();
    const writing = (async () => {
      await recorder.perform(other, { kind: "lookup", parent: other.root, name: "f" });
      await write(other);
    })();
    const all = Promise.all([storing, looking, writing]);
    all.catch(() => {}); // it is looked at below
    await wait(stoppedMs);
    isStopped = false;
    one.host.incarnation!.resume();
    await all;

    const again = await one.mount();
    assert.equal(again.kernel === first.kernel, one.cutCount === 0);
    await recorder.perform(again, { kind: "lookup", parent: again.root, name: "f" });
    for (const mount of [again, other])
      await recorder.perform(mount, { kind: "read", inode, offset: 0, length: 4_096 });
    if (first.kernel.isCut)
      await assert.rejects(first.kernel.perform({ kind: "sync", inode, handle: 0 }, handle), FileError);
    await write(again);
    await recorder.perform(other, { kind: "read", inode, offset: 0, length: 4_096 });
    await cluster.unmount();
    return { cuts: one.cutCount, looks, errors };
  };

  let outcome: { seen: Seen } | { error: Error } | undefined;
  story().then(
    (seen) => {
      outcome = { seen };
    },
    (error: Error) => {
      outcome = { error };
    },
  );
  const end = await scheduler.run(() => outcome !== undefined, { untilUs: limitMs * 1_000 });
  assert.equal(end, "finished");
  if ("error" in outcome!) throw outcome.error;
  return outcome!.seen;
}

test("a stopped client's pages go before anybody else writes the file", async () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const { cuts, looks, errors } = await stage(seed, { changes: false });
    assert.equal(cuts, 0, "nothing in the kernel waited for the client");
    assert.ok(looks > 50, "until then they can be looked at");
    assert.ok(errors.length === 0 || (errors.length === 1 && errors[0] === "EIO"), "a look that waited may fail, once");
  }
});

test("a stopped client whose memory was changed is cut off, and mounts anew when it wakes up", async () => {
  let cuts = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const seen = await stage(seed, { changes: true });
    cuts += seen.cuts;
    if (seen.cuts > 0) assert.ok(seen.errors.includes("ENOTCONN"), "whoever changed the memory is told");
  }
  assert.ok(cuts > 0, "no guard had to");
});

test("planted: a guard that never acts, and old pages are seen", async () => {
  const hooks = withFileSystem((real) => ({
    attach: (caches) => real.attach(replaced(caches, { standsUntil() {} })),
  }));
  await assert.rejects(stage(1, { changes: false, hooks }), /not linearizable/);
});
