/** What is told to the kernel and when, against a kernel that the test plays. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FileSystem } from "../client/file-system.ts";
import { errno } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import { realRandom } from "../platform/real-random.ts";
import { serveFuse } from "./fuse-server.ts";
import { linux61Features, linux61Minor } from "./protocol.ts";
import { bytes, FakeKernel, HandClock, KeptLogger, settle } from "./testing/fake-kernel.ts";
import { MemoryFileSystem } from "./testing/memory-file-system.ts";

const { u32, u64, name, join } = bytes;
const pageBytes = 4096;
const incEpoch = 8;
const invalInode = 2;

interface Setup {
  readonly kernel: FakeKernel;
  readonly clock: HandClock;
  readonly logger: KeptLogger;
  readonly files: MemoryFileSystem;
  /** Reads of the file system: their offsets, and whether they were exclusive. */
  readonly reads: [number, string | undefined][];
  /** Notifications since the last time: code, and for INVAL_INODE node and offset. */
  told(): number[][];
}

async function setup(
  options: {
    minor?: number;
    minorMax?: number;
    featureMask?: bigint;
    keepNames?: boolean;
    change?: Partial<FileSystem>;
  } = {},
): Promise<Setup> {
  const kernel = new FakeKernel();
  const clock = new HandClock();
  const logger = new KeptLogger();
  const files = new MemoryFileSystem(() => clock.wallNs());
  files.validMs = 60_000;
  const reads: [number, string | undefined][] = [];
  const read: FileSystem["read"] = (handle, offset, length, _signal, options) => {
    reads.push([offset, options?.pages]);
    return files.read(handle, offset, length);
  };
  const replaced = { read, ...options.change } as Record<string | symbol, unknown>;
  const served: FileSystem = new Proxy(files, {
    get: (target, key) => {
      const value = key in replaced ? replaced[key] : Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  serveFuse(served, kernel, {
    platform: { clock, logger, random: realRandom },
    tasks: {
      isEnding: () => false,
      hasCapability: () => true,
      isInGroup: () => true,
      fileSizeMax: () => 1e9,
      signalFileSize: () => {},
    },
    ...options,
  });
  const features = (1n << 42n) - 1n;
  const init = [7, options.minor ?? 45, 131072, Number(features & 0xffff_ffffn), Number(features >> 32n)];
  await kernel.ask("INIT", { node: 0, body: join(...init.map(u32), Buffer.alloc(44)) });
  const told = () =>
    kernel.notified.splice(0).map((message) => {
      assert.equal(message.readUInt32LE(0), message.length);
      assert.equal(message.readBigUInt64LE(8), 0n);
      const code = message.readInt32LE(4);
      return code === incEpoch
        ? [code]
        : [code, Number(message.readBigUInt64LE(16)), Number(message.readBigInt64LE(24))];
    });
  return { kernel, clock, logger, files, reads, told };
}

/** Makes a file behind the kernel's back; returns its inode. */
async function makeFile(files: MemoryFileSystem, fileName: string, text = ""): Promise<number> {
  const { inode } = await files.create(files.root, fileName, { type: "file", mode: 0o644, uid: 0, gid: 0 });
  const handle = await files.open(inode, {});
  await files.write(handle, 0, Buffer.from(text), { killPrivileges: false });
  files.close(handle);
  return inode;
}

async function openFile(kernel: FakeKernel, node: number, flags = 0): Promise<number> {
  const { body } = await kernel.ask("OPEN", { node, body: join(u32(flags), u32(0)) });
  return Number(body.readBigUInt64LE(0));
}

/** `direct`: as read(2) asks, which names the owner of locks. */
const readBody = (handle: number, offset: number, size: number, direct = false) =>
  join(u64(handle), u64(offset), u32(size), u32(direct ? 2 : 0), u64(0), u32(0), u32(0));

/** Entry and attribute time-outs of an entry_out, in milliseconds. */
const validOf = (body: Buffer) =>
  [16, 24].map((at, index) => Number(body.readBigUInt64LE(at)) * 1000 + body.readUInt32LE(32 + 4 * index) / 1e6);

test("how long the kernel may keep what: it is asked when the answer is written", async () => {
  const { kernel, files } = await setup();
  const inode = await makeFile(files, "f", "x");
  assert.deepEqual(validOf((await kernel.ask("LOOKUP", { body: name("f") })).body), [60_000, 60_000]);
  const absent = await kernel.ask("LOOKUP", { body: name("none") });
  assert.deepEqual([absent.errno, absent.body.readBigUInt64LE(0), validOf(absent.body)[0]], [0, 0n, 60_000]);
  const attributes = await kernel.ask("GETATTR", { node: inode, body: Buffer.alloc(16) });
  assert.equal(attributes.body.readBigUInt64LE(0), 60n);
  const statx = await kernel.ask("STATX", { node: inode, body: Buffer.alloc(24) });
  assert.equal(statx.body.readBigUInt64LE(0), 60n);
  // What the kernel takes without a look at its version.
  const made = await kernel.ask("MKDIR", { body: join(u32(0o755), u32(0), name("d")) });
  assert.deepEqual(validOf(made.body), [60_000, 0]);
  const created = await kernel.ask("CREATE", { body: join(u32(0o102), u32(0o100644), u32(0), u32(0), name("c")) });
  assert.deepEqual(validOf(created.body), [60_000, 1], "for a moment: open(2) looks at them");
  const linked = await kernel.ask("LINK", { body: join(u64(inode), name("l")) });
  assert.deepEqual(validOf(linked.body), [60_000, 0]);
  const changed = await kernel.ask("SETATTR", { node: inode, body: Buffer.alloc(88) });
  assert.equal(changed.body.readBigUInt64LE(0), 0n);
  files.validMs = 900;
  const late = await kernel.ask("CREATE", { body: join(u32(0o102), u32(0o100644), u32(0), u32(0), name("late")) });
  assert.deepEqual(validOf(late.body), [900, 0], "the session might end before that moment");
  files.validMs = 0;
  assert.deepEqual(validOf((await kernel.ask("LOOKUP", { body: name("f") })).body), [0, 0]);
  assert.equal((await kernel.ask("LOOKUP", { body: name("none") })).errno, errno.ENOENT);
});

test("a new file's lease waits until the kernel has taken the answer that made it, and keeps nothing of it", async () => {
  const { kernel, clock, files, told } = await setup();
  const make = async (fileName: string) => {
    const body = join(u32(0o102), u32(0o100644), u32(0), u32(0), name(fileName));
    return Number((await kernel.ask("CREATE", { body })).body.readBigUInt64LE(0));
  };
  let ended: number[] = [];
  const wait = (inode: number) => files.caches!.settled(inode)!.then(() => ended.push(inode));
  const advance = async (ms: number) => {
    for (let index = 0; index < ms; index++) {
      clock.advance(1);
      await settle();
    }
  };
  const inode = await make("a");
  kernel.notifyAnswer = "unknownNode";
  told();
  wait(inode);
  await advance(8);
  assert.deepEqual(told(), Array(4).fill([invalInode, inode, -1]), "after 0, 1, 3 and 7 ms");
  kernel.notifyAnswer = "done";
  await advance(7);
  assert.deepEqual(told(), [[invalInode, inode, -1]]);
  await advance(24);
  assert.deepEqual(ended, []);
  await advance(2);
  assert.deepEqual(ended, [inode]);
  assert.equal(files.caches!.settled(inode), undefined);

  ended = [];
  const used = await make("b");
  wait(used);
  await kernel.ask("GETATTR", { node: used, body: Buffer.alloc(16) });
  await advance(1);
  assert.deepEqual(ended, [used], "the kernel asks about it");

  ended = [];
  const lost = await make("c");
  kernel.notifyAnswer = "unknownNode";
  wait(lost);
  await advance(10_100);
  assert.deepEqual(ended, [lost], "whoever made it is gone");
  assert.equal(files.caches!.settled(await makeFile(files, "d")), undefined);
  assert.equal(clock.timerCount, 0);
});

test("a kernel without INC_EPOCH keeps no names, and is never told to forget them", async () => {
  const masked = { featureMask: linux61Features, minorMax: linux61Minor };
  for (const options of [{ minor: 43 }, { minor: 37 }, masked, { keepNames: false }]) {
    const { kernel, files, told } = await setup(options);
    await makeFile(files, "f");
    assert.deepEqual(validOf((await kernel.ask("LOOKUP", { body: name("f") })).body), [0, 60_000]);
    assert.equal((await kernel.ask("LOOKUP", { body: name("none") })).errno, errno.ENOENT);
    files.caches!.forgetNames();
    assert.deepEqual(told(), []);
  }
});

test("names and attributes are forgotten at once", async () => {
  const { kernel, files, told } = await setup();
  assert.deepEqual(told(), [[incEpoch]]); // it was tried
  const inode = await makeFile(files, "f");
  await kernel.ask("LOOKUP", { body: name("f") });
  files.caches!.forgetNames();
  files.caches!.forgetAttributes(inode);
  files.caches!.forgetAttributes(files.root);
  assert.deepEqual(told(), [[incEpoch], [invalInode, inode, -1], [invalInode, 1, -1]]);
});

test("of a node that the kernel can't know it is not told", async () => {
  const { kernel, clock, files, told } = await setup();
  const inode = await makeFile(files, "f");
  told();
  kernel.notifyAnswer = "unknownNode";
  files.caches!.forgetAttributes(inode); // it was never looked up
  await kernel.ask("LOOKUP", { body: name("f") });
  await kernel.ask("LOOKUP", { body: name("f") });
  kernel.send("FORGET", { node: inode, body: u64(1) });
  kernel.send("BATCH_FORGET", { node: 0, body: join(u32(1), u32(0), u64(inode), u64(1)) });
  files.caches!.forgetAttributes(inode); // it was forgotten as often as it was given
  assert.deepEqual(told(), []);
  assert.equal(clock.timerCount, 0);
});

test("a node that the kernel may be about to learn of is told of again, and names are forgotten, too", async () => {
  const { kernel, clock, files, told } = await setup();
  const [one, two, three] = await Promise.all(["a", "b", "c"].map((file) => makeFile(files, file)));
  for (const file of ["a", "b", "c"]) await kernel.ask("LOOKUP", { body: name(file) });
  told();
  kernel.notifyAnswer = "unknownNode";
  files.caches!.forgetAttributes(one!);
  assert.deepEqual(told(), [[invalInode, one, -1], [incEpoch]]);
  clock.advance(1);
  assert.deepEqual(told(), [[invalInode, one, -1]]);
  clock.advance(1); // the second time is later
  assert.deepEqual(told(), []);
  clock.advance(1);
  assert.deepEqual(told(), [[invalInode, one, -1]]);
  files.caches!.forgetAttributes(two!);
  files.caches!.forgetAttributes(three!);
  told();
  // A request about it shows that it is known: before its answer.
  kernel.replies.length = 0;
  kernel.send("GETATTR", { node: two!, body: Buffer.alloc(16) });
  assert.deepEqual([told(), kernel.replies.length], [[[invalInode, two, -1]], 0]);
  kernel.send("FORGET", { node: three!, body: u64(1) });
  clock.advance(200);
  assert.ok(told().every(([, node]) => node === one));
  kernel.notifyAnswer = "done";
  clock.advance(200);
  assert.deepEqual(told(), [[invalInode, one, -1]]);
  assert.equal(clock.timerCount, 0);
  // One that never shows up is given up.
  kernel.notifyAnswer = "unknownNode";
  files.caches!.forgetAttributes(one!);
  clock.advance(20_000);
  assert.equal(clock.timerCount, 0);
});

test("a node to which no name leads takes no other names with it", async () => {
  const { kernel, files, told } = await setup();
  const inode = await makeFile(files, "f");
  await kernel.ask("LOOKUP", { body: name("f") });
  told();
  kernel.notifyAnswer = "unknownNode";
  files.caches!.forgetAttributes(inode, false);
  assert.deepEqual(told(), [[invalInode, inode, -1]]);
});

test("only READs for pages make pages; while the inode is open for writing, they are exclusive", async () => {
  const { kernel, files, reads } = await setup();
  const node = await makeFile(files, "f", "x".repeat(3 * pageBytes));
  const handle = await openFile(kernel, node);
  await kernel.ask("READ", { node, body: readBody(handle, 0, pageBytes, true) });
  await files.caches!.forgetPages(node);
  assert.equal(kernel.blocked.length, 0);
  await kernel.ask("READ", { node, body: readBody(handle, 0, pageBytes) });
  const writing = await openFile(kernel, node, 2);
  await kernel.ask("READ", { node, body: readBody(handle, pageBytes, pageBytes) });
  await kernel.ask("READ", { node, body: readBody(writing, 0, pageBytes, true) });
  await kernel.ask("RELEASE", { node, body: join(u64(writing), Buffer.alloc(16)) });
  await kernel.ask("READ", { node, body: readBody(handle, 2 * pageBytes, pageBytes) });
  assert.deepEqual(reads, [
    [0, undefined],
    [0, "keep"],
    [pageBytes, "change"],
    [0, undefined],
    [2 * pageBytes, "keep"],
  ]);
  const forgotten = files.caches!.forgetPages(node);
  assert.equal(kernel.blocked.length, 1);
  kernel.blocked[0]!.end();
  await forgotten;
  await files.caches!.forgetPages(node);
  assert.equal(kernel.blocked.length, 1);
});

/** Node, offset and length of a blocking notification. */
const rangeOf = ({ message }: { readonly message: Buffer }) =>
  [16, 24, 32].map((at) => Number(message.readBigUInt64LE(at)));

test("pages: READs that come meanwhile are held, and not waited for", async () => {
  const { kernel, clock, files, reads } = await setup();
  const node = await makeFile(files, "f", "x".repeat(40 * pageBytes));
  const handle = await openFile(kernel, node);
  const read = (page: number, count = 1) =>
    kernel.send("READ", { node, body: readBody(handle, page * pageBytes, count * pageBytes) });
  const readPages = () => reads.splice(0).map(([offset]) => offset / pageBytes);
  read(0, 4);
  read(20);
  await settle();
  readPages();
  let isDone = false;
  void files.caches!.forgetPages(node).then(() => {
    isDone = true;
  });
  assert.deepEqual(kernel.blocked.map(rangeOf), [[node, 0, 4 * pageBytes]]);
  read(2); // the kernel has dropped it, in this round or by itself
  read(7); // it never had it
  await settle();
  assert.deepEqual(readPages(), []);
  clock.advance(2); // it blocks: perhaps for page 2
  await settle();
  const stuck = kernel.blocked.shift()!;
  for (const part of [
    [0, 2],
    [3, 1],
    [20, 1],
  ] as const) {
    assert.deepEqual([isDone, readPages()], [false, []]);
    assert.deepEqual(kernel.blocked.map(rangeOf), [[node, part[0] * pageBytes, part[1] * pageBytes]]);
    kernel.blocked.shift()!.end();
    await settle();
  }
  assert.deepEqual([isDone, readPages()], [true, []]);
  // What is held goes on when whoever waited has given up the lease.
  clock.advance(0);
  await settle();
  assert.deepEqual(readPages(), [2, 7]);
  stuck.end();
  await settle();
  assert.equal(clock.timerCount, 0);
});

test("pages: READs that wait for a lease are left out, and nobody waits for them", async () => {
  const lease = Promise.withResolvers<void>();
  let waits = false;
  const { kernel, clock, files } = await setup({
    change: {
      read: async () => {
        if (waits) await lease.promise;
        return [Buffer.alloc(pageBytes)];
      },
    },
  });
  const node = await makeFile(files, "f", "x".repeat(40 * pageBytes));
  const handle = await openFile(kernel, node);
  const read = (page: number, count = 1) =>
    kernel.send("READ", { node, body: readBody(handle, page * pageBytes, count * pageBytes) });
  read(4, 3);
  await settle();
  waits = true;
  read(5);
  read(9);
  let isDone = false;
  const forget = () => {
    isDone = false;
    return void files.caches!.forgetPages(node).then(() => {
      isDone = true;
    });
  };
  forget();
  clock.advance(0); // answers that are decided on have gone out
  await settle();
  assert.deepEqual(kernel.blocked.map(rangeOf), [[node, 4 * pageBytes, pageBytes]]);
  kernel.blocked.shift()!.end();
  await settle();
  assert.deepEqual(kernel.blocked.map(rangeOf), [[node, 6 * pageBytes, pageBytes]]);
  kernel.blocked.shift()!.end();
  await settle();
  assert.equal(isDone, true);
  clock.advance(0);
  // Under the next lease they are answered, and forgotten with it.
  lease.resolve();
  await settle();
  forget();
  assert.deepEqual(kernel.blocked.map(rangeOf), [[node, 5 * pageBytes, pageBytes]]);
  kernel.blocked.shift()!.end();
  await settle();
  kernel.blocked.shift()!.end();
  await settle();
  assert.equal(isDone, true);
});

test("pages that the kernel does not give up are reported; the end of the connection frees those who are held", async () => {
  const { kernel, clock, logger, files, reads } = await setup();
  const node = await makeFile(files, "f", "x".repeat(pageBytes));
  const handle = await openFile(kernel, node);
  await kernel.ask("READ", { node, body: readBody(handle, 0, pageBytes) });
  void files.caches!.forgetPages(node);
  for (let ms = 0; ms < 21_000; ms += 50) {
    clock.advance(50);
    await settle();
  }
  assert.equal(logger.lines.length, 3);
  kernel.send("READ", { node, body: readBody(handle, 0, pageBytes) });
  await settle();
  reads.length = 0;
  kernel.close();
  await settle();
  assert.equal(reads.length, 1);
});

test("of many files the pages of a few are taken at a time, and who is stuck holds up nobody", async () => {
  const { kernel, clock, logger, files } = await setup();
  let forgotten = 0;
  const nodes: number[] = [];
  for (let count = 0; count < 40; count++) {
    const node = await makeFile(files, `f${count}`, "x".repeat(pageBytes));
    const handle = await openFile(kernel, node);
    await kernel.ask("READ", { node, body: readBody(handle, 0, pageBytes) });
    nodes.push(node);
  }
  for (const node of nodes) {
    void files.caches!.forgetPages(node).then(() => {
      forgotten += 1;
    });
  }
  await settle();
  assert.equal(kernel.blocked.length, 16);
  for (let count = 0; count < 4; count++) kernel.blocked.pop()!.end();
  await settle();
  assert.deepEqual([forgotten, kernel.blocked.length], [4, 16]);
  clock.advance(2); // all of them are late
  await settle();
  assert.equal(kernel.blocked.length, 32);
  const stuck = kernel.blocked.shift()!;
  while (kernel.blocked.length > 0) {
    kernel.blocked.shift()!.end();
    await settle();
  }
  assert.equal(forgotten, 39);
  stuck.end();
  await settle();
  assert.equal(forgotten, 40);
  assert.deepEqual(logger.lines, []);
});

test("a name that moves into a directory without a lease is forgotten before the answer", async () => {
  const leased = new Set<number>();
  const { kernel, files, told } = await setup({
    change: { nameValidMs: (directory) => (leased.has(directory) ? 60_000 : 0) },
  });
  await makeFile(files, "a");
  const made = await kernel.ask("MKDIR", { body: join(u32(0o755), u32(0), name("d")) });
  const directory = Number(made.body.readBigUInt64LE(0));
  told();
  const rename = (from: number, to: number) =>
    kernel.ask("RENAME2", { node: from, body: join(u64(to), u32(0), u32(0), name("a"), name("a")) });
  assert.equal((await rename(1, directory)).errno, 0);
  assert.deepEqual(told(), [[incEpoch]]);
  leased.add(files.root);
  assert.equal((await rename(directory, 1)).errno, 0);
  assert.deepEqual(told(), []);
});

test("FLUSH tells an error of write-back, and unlocks only for who may have locks", async () => {
  const unlocked: bigint[] = [];
  let failure: FileError | undefined;
  const { kernel, files } = await setup({
    change: {
      unlock: async (_handle, { owner }) => void unlocked.push(owner),
      flush: () => {
        if (failure !== undefined) throw failure;
      },
    },
  });
  const node = await makeFile(files, "f");
  const handle = await openFile(kernel, node, 2);
  const flush = (owner: bigint) => kernel.ask("FLUSH", { node, body: join(u64(handle), u64(0), u64(owner)) });
  const lockBody = (owner: bigint, type: number, flags = 0) =>
    join(u64(handle), u64(owner), u64(0), u64((1n << 63n) - 1n), u32(type), u32(1), u32(flags), u32(0));
  const [first, second] = [2n ** 64n - 1n, 2n ** 64n - 2n];
  assert.equal((await flush(first)).errno, 0);
  assert.equal((await kernel.ask("SETLK", { node, body: lockBody(first, 0) })).errno, 0);
  assert.equal((await kernel.ask("SETLK", { node, body: lockBody(second, 1, 1) })).errno, 0); // flock
  assert.equal((await flush(second)).errno, 0);
  assert.deepEqual(unlocked, []);
  failure = new FileError("ENOSPC");
  assert.equal((await flush(first)).errno, errno.ENOSPC);
  assert.deepEqual(unlocked, [first]);
  assert.equal((await flush(first)).errno, errno.ENOSPC);
  assert.equal(unlocked.length, 1);
});

test("a wait for a lock that any signal interrupts: the answer is the file system's", async () => {
  const { kernel, files } = await setup();
  const node = await makeFile(files, "f");
  const handle = await openFile(kernel, node, 2);
  const lockBody = (owner: number) => join(u64(handle), u64(owner), u64(0), u64(9), u32(1), u32(1), u32(0), u32(0));
  await kernel.ask("SETLK", { node, body: lockBody(1) });
  const unique = kernel.send("SETLKW", { node, body: lockBody(2) });
  await settle();
  kernel.send("INTERRUPT", { unique: unique + 1, body: u64(unique) });
  await settle();
  assert.deepEqual([kernel.replies.at(-1)!.unique, kernel.replies.at(-1)!.errno], [unique, errno.EINTR]);
  assert.equal(files.locks.count, 1);
  // Granted to a task that no longer takes the answer: it is taken back.
  kernel.send("SETLKW", { node, body: lockBody(2) });
  await settle();
  kernel.refusesReplies = true;
  const opened = files.locks.count;
  kernel.send("SETLK", { node, body: join(lockBody(1).subarray(0, 32), u32(2), u32(1), u32(0), u32(0)) });
  await settle();
  assert.deepEqual([opened, files.locks.count], [2, 0]);
});
