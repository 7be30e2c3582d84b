/** The server against a kernel that the test plays: what is answered, when, and what is given back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FileSystem } from "../client/file-system.ts";
import { errno } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import { realRandom } from "../platform/real-random.ts";
import { type FuseServer, serveFuse } from "./fuse-server.ts";
import { feature, linux61Features, readFlag } from "./protocol.ts";
import { mayOpen } from "./requests/data.ts";
import { bytes, FakeKernel, HandClock, KeptLogger, settle } from "./testing/fake-kernel.ts";
import { MemoryFileSystem } from "./testing/memory-file-system.ts";

const { u32, u64, name, join } = bytes;

interface Setup {
  kernel: FakeKernel;
  clock: HandClock;
  logger: KeptLogger;
  files: MemoryFileSystem;
  server: FuseServer;
  /** Tasks that have a pending SIGKILL. */
  ending: Set<number>;
}

/** `change` replaces methods of the file system. */
function setup(change: (files: MemoryFileSystem) => Partial<FileSystem> = () => ({}), featureMask?: bigint): Setup {
  const kernel = new FakeKernel();
  const clock = new HandClock();
  const logger = new KeptLogger();
  const files = new MemoryFileSystem(() => clock.wallNs());
  // Methods that are not replaced work on `files` itself, which has private fields.
  const replaced = change(files) as Record<string | symbol, unknown>;
  const served = new Proxy(files, {
    get: (target, key) => {
      const value = key in replaced ? replaced[key] : Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  }) as FileSystem;
  const ending = new Set<number>();
  const tasks = {
    isEnding: (task: number) => ending.has(task),
    hasCapability: () => true,
    isInGroup: () => true,
    fileSizeMax: () => 1e9,
    signalFileSize: () => {},
  };
  const server = serveFuse(served, kernel, { platform: { clock, logger, random: realRandom }, tasks, featureMask });
  return { kernel, clock, logger, files, server, ending };
}

const createBody = (flags: number, fileName: string) =>
  join(u32(flags), u32(0o100644), u32(0o22), u32(0), name(fileName));
const readBody = (handle: number, offset: number | bigint, size: number) =>
  join(u64(handle), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0));
const writeBody = (handle: number, offset: number | bigint, data: Uint8Array, flags = 0, writeFlags = 0) =>
  join(u64(handle), u64(offset), u32(data.byteLength), u32(writeFlags), u64(0), u32(flags), u32(0), data);
const fsyncBody = (handle: number, flags = 0) => join(u64(handle), u32(flags), u32(0));
const initBody = (minor: number, features: bigint) =>
  join(
    u32(7),
    u32(minor),
    u32(131072),
    u32(Number(features & 0xffff_ffffn)),
    u32(Number(features >> 32n)),
    Buffer.alloc(44),
  );

/** Creates a file and returns node and handle. */
async function createFile(kernel: FakeKernel, fileName: string, flags = 0o102) {
  const { errno: error, body } = await kernel.ask("CREATE", { body: createBody(flags, fileName) });
  assert.equal(error, 0);
  return { node: Number(body.readBigUInt64LE(0)), handle: Number(body.readBigUInt64LE(128)), body };
}

test("INIT agrees on 1 MiB, direct mmap and no write-back cache", async () => {
  const { kernel, server } = setup();
  const everything = (1n << 42n) - 1n;
  const { errno: error, body } = await kernel.ask("INIT", { node: 0, body: initBody(45, everything) });
  await server.ready;
  assert.equal(error, 0);
  assert.equal(body.length, 64);
  assert.deepEqual([body.readUInt32LE(0), body.readUInt32LE(4), body.readUInt32LE(8)], [7, 45, 131072]);
  const flags = BigInt(body.readUInt32LE(12)) | (BigInt(body.readUInt32LE(32)) << 32n);
  for (const [one, bit] of Object.entries(feature)) assert.ok((flags & bit) !== 0n, one);
  const unwanted = { AUTO_INVAL_DATA: 12n, DO_READDIRPLUS: 13n, WRITEBACK_CACHE: 16n };
  for (const [one, bit] of Object.entries(unwanted)) assert.ok((flags & (1n << bit)) === 0n, one);
  assert.deepEqual([body.readUInt16LE(16), body.readUInt16LE(18)], [64, 48]);
  assert.equal(body.readUInt32LE(20), 1024 * 1024);
  assert.equal(body.readUInt16LE(28), 256);
});

test("INIT with the features of Linux 6.1, of a newer kernel, and of one that is too old", async () => {
  const old = setup(() => ({}), linux61Features);
  const { body } = await old.kernel.ask("INIT", { node: 0, body: initBody(99, (1n << 42n) - 1n) });
  assert.equal(body.readUInt32LE(4), 45);
  assert.equal(body.readUInt32LE(32), 0);
  const tooOld = setup();
  const reply = await tooOld.kernel.ask("INIT", { node: 0, body: initBody(26, (1n << 31n) - 1n) });
  assert.equal(reply.errno, errno.EPROTO);
  await assert.rejects(tooOld.server.ready, { code: "versionMismatch" });
});

test("the root is node 1, others are their inode numbers", async () => {
  const { kernel, files } = setup();
  const { body } = await kernel.ask("GETATTR", { body: Buffer.alloc(16) });
  assert.equal(body.readBigUInt64LE(16), BigInt(files.root));
  const made = await kernel.ask("MKDIR", { body: join(u32(0o755), u32(0), name("d")) });
  const node = Number(made.body.readBigUInt64LE(0));
  assert.equal(node, files.root + 1);
  const up = await kernel.ask("LOOKUP", { node, body: name("..") });
  assert.equal(up.body.readBigUInt64LE(0), 1n);
  const same = await kernel.ask("LOOKUP", { node, body: name(".") });
  assert.equal(same.body.readBigUInt64LE(0), BigInt(node));
  assert.equal((await kernel.ask("GETATTR", { node: 0, body: Buffer.alloc(16) })).errno, errno.ESTALE);
});

test("opens ask for direct I/O", async () => {
  const { kernel } = setup();
  const { body } = await createFile(kernel, "f");
  assert.equal(body.length, 144);
  assert.equal(body.readUInt32LE(136), 0b100_0001);
});

test("READ and WRITE; offsets above 2^53", async () => {
  const { kernel } = setup();
  const { handle, node } = await createFile(kernel, "f");
  const written = await kernel.ask("WRITE", { node, body: writeBody(handle, 3, Buffer.from("abc")) });
  assert.deepEqual(written.body, join(u32(3), u32(0)));
  assert.equal(
    (await kernel.ask("READ", { node, body: readBody(handle, 0, 100) })).body.toString("latin1"),
    "\0\0\0abc",
  );
  assert.equal((await kernel.ask("READ", { node, body: readBody(handle, 6, 100) })).body.length, 0);
  const far = await kernel.ask("READ", { node, body: readBody(handle, 2n ** 62n, 100) });
  assert.deepEqual([far.errno, far.body.length], [0, 0]);
  const tooFar = await kernel.ask("WRITE", { node, body: writeBody(handle, 2n ** 62n, Buffer.from("x")) });
  assert.equal(tooFar.errno, errno.EFBIG);
  assert.equal((await kernel.ask("READ", { node, body: readBody(99, 0, 1) })).errno, errno.EBADF);
});

test("read(2) may be short where bytes are lost; pages of mapped memory may not, since the kernel would add zeros", async () => {
  const asked: (boolean | undefined)[] = [];
  const { kernel } = setup((files) => ({
    read: (...[handle, offset, size, _signal, options]: Parameters<FileSystem["read"]>) => {
      asked.push(options?.mayBeShort);
      return files.read(handle, offset, size);
    },
  }));
  const { handle, node } = await createFile(kernel, "f");
  const body = (size: number, flags: number) =>
    join(u64(handle), u64(0), u32(size), u32(flags), u64(0), u32(0), u32(0));
  for (const size of [4096, 1 << 20]) {
    for (const flags of [readFlag.LOCKOWNER, 0]) await kernel.ask("READ", { node, body: body(size, flags) });
  }
  assert.deepEqual(asked, [true, undefined, true, undefined]);
});

test("a large WRITE keeps its buffer until the file system has finished", async () => {
  const gate = Promise.withResolvers<void>();
  const { kernel } = setup(() => ({
    write: async (_handle, _offset, data) => {
      await gate.promise;
      return data.byteLength;
    },
  }));
  const { handle, node } = await createFile(kernel, "f");
  kernel.send("WRITE", { node, body: writeBody(handle, 0, Buffer.alloc(1024 * 1024)) });
  await settle();
  assert.equal(kernel.released.length, 0);
  gate.resolve();
  await settle();
  assert.equal(kernel.released.length, 1);
});

test("appending is decided by the write's flags; mapped pages go where they belong", async () => {
  const { kernel, files } = setup();
  const append = 0o2000;
  const { handle, node } = await createFile(kernel, "f", 0o102 | append);
  const write = (data: string, flags: number, writeFlags = 0) =>
    kernel.ask("WRITE", { node, body: writeBody(handle, 0, Buffer.from(data), flags, writeFlags) });
  await write("one", append);
  await write("two", append);
  await write("O", 0);
  await write("P", append, 1);
  const { body } = await kernel.ask("READ", { node, body: readBody(handle, 0, 100) });
  assert.equal(body.toString(), "Pnetwo");
  assert.equal(files.openCount, 2);
  await kernel.ask("RELEASE", { node, body: join(u64(handle), Buffer.alloc(16)) });
  assert.equal(files.openCount, 0);
});

test("a write with O_SYNC or O_DSYNC is synced before it is answered, another is not; fdatasync is for data", async () => {
  const calls: string[] = [];
  const { kernel } = setup(() => ({
    write: async (_handle, _offset, data) => {
      calls.push("write");
      return data.byteLength;
    },
    sync: async (_handle, _signal, scope) => void calls.push(`sync ${scope}`),
  }));
  const { handle, node } = await createFile(kernel, "f");
  for (const flags of [0, 0o10000, 0o4010000, 0o4000]) {
    const { body } = await kernel.ask("WRITE", { node, body: writeBody(handle, 0, Buffer.from("abc"), flags) });
    assert.equal(body.readUInt32LE(0), 3);
    calls.push("answer");
  }
  const synced = (scope: string) => ["write", `sync ${scope}`, "answer"];
  assert.deepEqual(calls, ["write", "answer", ...synced("data"), ...synced("all"), "write", "answer"]);
  calls.length = 0;
  for (const flags of [0, 1]) await kernel.ask("FSYNC", { node, body: fsyncBody(handle, flags) });
  assert.deepEqual(calls, ["sync all", "sync data"]);
});

test("an OPEN that nobody waits for any more is closed again", async () => {
  const { kernel, files } = setup();
  const { node, handle } = await createFile(kernel, "f");
  await kernel.ask("RELEASE", { node, body: join(u64(handle), Buffer.alloc(16)) });
  kernel.refusesReplies = true;
  kernel.send("OPEN", { node, body: join(u32(2), u32(0)) });
  kernel.send("OPENDIR", { body: join(u32(0), u32(0)) });
  kernel.send("CREATE", { body: createBody(0o102, "g") });
  await settle();
  assert.equal(files.openCount, 0);
});

test("a signal alone does not end a request, SIGKILL does, also when it comes later", async () => {
  const { kernel, clock, ending } = setup(() => ({
    sync: (_inode, signal) =>
      new Promise((_, reject) => signal!.addEventListener("abort", () => reject(new FileError("EINTR")))),
  }));
  const { handle } = await createFile(kernel, "f");
  kernel.replies.length = 0;
  assert.equal(kernel.isWaiting, false);
  const unique = kernel.send("FSYNC", { task: 42, body: fsyncBody(handle) });
  assert.equal(kernel.isWaiting, true, "the event loop must see to it");
  kernel.send("INTERRUPT", { unique: unique + 1, body: u64(unique) });
  clock.advance(5_000);
  await settle();
  assert.equal(kernel.replies.length, 0);
  ending.add(42);
  clock.advance(100);
  await settle();
  assert.deepEqual(
    kernel.replies.map((one) => [one.unique, one.errno]),
    [[unique, errno.EINTR]],
  );
  clock.advance(200);
  assert.equal(clock.timerCount, 0);
});

test("an INTERRUPT after the answer, and of a task that can't be seen", async () => {
  const { kernel, clock } = setup(() => ({ sync: () => new Promise(() => {}) }));
  const unique = kernel.send("STATFS");
  await settle();
  kernel.send("INTERRUPT", { unique: unique + 1, body: u64(unique) });
  assert.equal(clock.timerCount, 0);
  const { handle } = await createFile(kernel, "f");
  const invisible = kernel.send("FSYNC", { task: 0, body: fsyncBody(handle) });
  kernel.send("INTERRUPT", { unique: invisible + 1, body: u64(invisible) });
  assert.equal(kernel.replies.at(-1)?.errno, errno.EINTR);
});

test("what is held for data is bounded, and a killed writer gets out while reading stands still", async () => {
  const gate = Promise.withResolvers<void>();
  const { kernel, clock, ending } = setup(() => ({
    write: async (_handle, _offset, data) => {
      await gate.promise;
      return data.byteLength;
    },
  }));
  const { handle, node } = await createFile(kernel, "f");
  const body = writeBody(handle, 0, Buffer.alloc(1024 * 1024));
  let sent = 0;
  for (; !kernel.paused && sent < 100; sent++) kernel.send("WRITE", { node, task: sent + 1, body });
  assert.ok(sent > 60 && sent < 70, String(sent));
  ending.add(7);
  clock.advance(100);
  await settle();
  assert.equal(kernel.replies.at(-1)?.errno, errno.EINTR);
  gate.resolve();
  await settle();
  assert.equal(kernel.paused, false);
  assert.equal(kernel.replies.length, sent + 1);
  assert.equal(kernel.released.length, sent);
  clock.advance(1_000);
  assert.equal(clock.timerCount, 0);
});

test("a listing has . and .., goes on behind any entry, and fits the size asked for", async () => {
  const { kernel, files } = setup();
  for (let index = 0; index < 300; index++) {
    await files.create(files.root, `n${index}`.padEnd(200, "ÿ"), { type: "file", mode: 0o644, uid: 0, gid: 0 });
  }
  const opened = await kernel.ask("OPENDIR", { body: join(u32(0), u32(0)) });
  const handle = Number(opened.body.readBigUInt64LE(0));
  const names: string[] = [];
  let offset = 0n;
  for (;;) {
    const { body } = await kernel.ask("READDIR", { body: readBody(handle, offset, 4096) });
    assert.ok(body.length <= 4096);
    if (body.length === 0) break;
    for (let at = 0; at < body.length; ) {
      const entry = body.subarray(at);
      const length = entry.readUInt32LE(16);
      names.push(entry.toString("latin1", 24, 24 + length));
      offset = entry.readBigUInt64LE(8);
      at += Math.ceil((24 + length) / 8) * 8;
    }
  }
  assert.equal(names.length, 302);
  assert.deepEqual(names.slice(0, 2), [".", ".."]);
  assert.equal(names[301], "n299".padEnd(200, "ÿ"));
});

test("CREATE of a name that another client has made meanwhile", async () => {
  const { kernel, files } = setup();
  const node = { type: "file", mode: 0o644, uid: 5, gid: 5 } as const;
  const { inode } = await files.create(files.root, "theirs", node);
  const body = createBody(0o102, "theirs");
  // Whoever may surely open it does; for others the kernel shall look again and check.
  const own = await kernel.ask("CREATE", { uid: 5, body });
  assert.equal(own.body.readUInt32LE(36), 0, "its attributes are not kept: it isn't new");
  assert.deepEqual([own.errno, own.body.readBigUInt64LE(0)], [0, BigInt(inode)]);
  assert.equal((await kernel.ask("CREATE", { uid: 6, body })).errno, errno.ESTALE);
  assert.equal((await kernel.ask("CREATE", { uid: 5, body: createBody(0o302, "theirs") })).errno, errno.EEXIST);
  await files.create(files.root, "directory", { ...node, type: "directory", mode: 0o777 });
  assert.equal((await kernel.ask("CREATE", { uid: 5, body: createBody(0o102, "directory") })).errno, errno.ESTALE);
});

test("who may surely open a file", async () => {
  const { files } = setup();
  const { attributes } = await files.getAttributes(files.root);
  const file = { ...attributes, uid: 5, mode: 0o604 };
  assert.equal(mayOpen(file, 5, 0o2), true);
  assert.equal(mayOpen(file, 6, 0o0), false);
  assert.equal(mayOpen({ ...file, mode: 0o644 }, 6, 0o0), true);
  assert.equal(mayOpen({ ...file, mode: 0o644 }, 6, 0o1000), false);
  assert.equal(mayOpen({ ...file, mode: 0o666 }, 6, 0o1), true);
});

test("rename flags, unknown opcodes, requests that have no answer", async () => {
  const { kernel, files } = setup();
  await files.create(files.root, "a", { type: "file", mode: 0o644, uid: 0, gid: 0 });
  const body = (flags: number) => join(u64(1), u32(flags), u32(0), name("a"), name("b"));
  for (const flags of [4, 3, 6, 8])
    assert.equal((await kernel.ask("RENAME2", { body: body(flags) })).errno, errno.EINVAL);
  assert.equal((await kernel.ask("RENAME2", { body: body(2) })).errno, errno.ENOENT);
  assert.equal((await kernel.ask("RENAME2", { body: body(1) })).errno, 0);
  for (const one of ["ACCESS", "IOCTL", "POLL"] as const) {
    assert.equal((await kernel.ask(one, { body: Buffer.alloc(64) })).errno, errno.ENOSYS, one);
  }
  const before = kernel.replies.length;
  kernel.send("FORGET", { body: u64(1) });
  kernel.send("BATCH_FORGET", { body: join(u32(1), u32(0), u64(1), u64(1)) });
  await settle();
  assert.equal(kernel.replies.length, before);
});

test("a defect is answered with EIO and logged; a malformed message harms nothing", async () => {
  const { kernel, logger, server } = setup(() => ({ statVolume: () => Promise.reject(new TypeError("a defect")) }));
  assert.equal((await kernel.ask("STATFS")).errno, errno.EIO);
  assert.equal((await kernel.ask("LOOKUP", { body: Buffer.from("no end") })).errno, errno.EIO);
  assert.equal((await kernel.ask("RENAME", { body: Buffer.alloc(4) })).errno, errno.EIO);
  kernel.deliver(Buffer.alloc(17));
  kernel.send("INTERRUPT", { body: Buffer.alloc(2) });
  assert.equal(logger.lines.length, 5);
  assert.equal((await kernel.ask("GETATTR", { body: Buffer.alloc(16) })).errno, 0);
  assert.equal(server.inFlightCount, 0);
});

test("the end of the connection aborts what is under way and closes what is open", async () => {
  let aborted = false;
  const { kernel, files, server } = setup(() => ({
    sync: (_inode, signal) =>
      new Promise((_, reject) =>
        signal!.addEventListener("abort", () => {
          aborted = true;
          reject(new FileError("EINTR"));
        }),
      ),
  }));
  const { handle } = await createFile(kernel, "f");
  kernel.send("FSYNC", { body: fsyncBody(handle) });
  kernel.refusesReplies = true;
  kernel.close();
  assert.equal(await server.ended, "closed here");
  await settle();
  assert.deepEqual([aborted, files.openCount, server.inFlightCount], [true, 0, 0]);
  await assert.rejects(server.ready, { code: "closed" });
});
