/**
 * Random sequences of system calls on a brinefs volume, over two mounts in turn, and on a local directory: results, errors
 * and what is left must be the same. A difference is made as short as it gets, and `fast-check` prints the sequence.
 *
 * Paths are few, so that calls meet each other. Calls are made by root and by two users, of whom one is in a group beside
 * her own. BRINE_TEST_SECONDS: for so long.
 */
import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import fc from "fast-check";
import { Cluster, type Context, full, root, scratch, undo, whyNoMount } from "../system/cluster.ts";
import { randomSeconds } from "../system/patience.ts";

const isLong = full || randomSeconds !== undefined;
const runs = randomSeconds !== undefined ? 1_000_000 : full ? 3_000 : 120;
const callsMax = isLong ? 120 : 60;
const patienceMs = 20_000;
const timeMsMax = randomSeconds !== undefined ? randomSeconds * 1000 : full ? 1_800_000 : 40_000;
/** Root, ALICE, BOB and STAFF of test/posix/suite.py. */
const ids = [0, 41001, 41002, 42001];

const name = fc.constantFrom("a", "b", "c", "d");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
const slot = fc.constantFrom("1", "2", "3");
const mode = fc.constantFrom(0o644, 0o755, 0o777, 0o600, 0o070, 0o4755, 0o2775, 0o1777, 0);
const byte = fc.integer({ min: 1, max: 255 });
const length = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(4095, 4096, 4097, 9000));
const offset = fc.oneof(fc.integer({ min: 0, max: 500 }), fc.constantFrom(4096, 8191, 12_288, 5_000_000));
const attribute = fc.constantFrom("user.a", "user.b", "trusted.c");
const time = fc.constantFrom(0, 1_000_000_001, 1_700_000_000_123_456_800, -1_000);
const id = fc.constantFrom(-1, ...ids);

const calls: Readonly<Record<string, readonly fc.Arbitrary<unknown>[]>> = {
  open: [slot, path, fc.constantFrom("r", "w", "+"), fc.subarray(["create", "exclusive", "truncate", "append"]), mode],
  temporary: [slot, path, mode],
  close: [slot],
  read: [slot, length],
  pread: [slot, offset, length],
  write: [slot, byte, length],
  pwrite: [slot, offset, byte, length],
  seek: [slot, fc.integer({ min: -10, max: 5000 }), fc.constantFrom(0, 1, 2)],
  ftruncate: [slot, offset],
  fstat: [slot],
  fchmod: [slot, mode],
  fsync: [slot],
  link_open: [slot, path],
  stat: [path],
  lstat: [path],
  mkdir: [path, mode],
  rmdir: [path],
  unlink: [path],
  mkfifo: [path, mode],
  symlink: [path, path],
  readlink: [path],
  link: [path, path],
  rename: [path, path, fc.constantFrom([], [], [], ["noReplace"], ["exchange"])],
  chmod: [path, mode],
  chown: [path, id, id],
  truncate: [path, offset],
  utimens: [path, time, time],
  access: [path, fc.integer({ min: 0, max: 7 })],
  list: [path],
  setxattr: [path, attribute, byte, fc.integer({ min: 0, max: 200 }), fc.constantFrom(0, 1, 2)],
  getxattr: [path, attribute],
  removexattr: [path, attribute],
  set_acl: [path, fc.constantFrom("access", "default"), fc.constantFrom(...ids), fc.integer({ min: 0, max: 7 })],
};
/** What makes and changes things comes more often. */
const often = ["open", "open", "write", "pwrite", "mkdir", "mkdir", "rename", "rename", "link", "chown", "symlink"];

const user = fc.constantFrom(0, 0, 0, 1, 2);
const call = fc
  .constantFrom(...Object.keys(calls), ...often)
  .chain((kind) => fc.tuple(user, fc.constant(kind), ...calls[kind]!));

/** A process that makes the calls in its directories. */
class Side {
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];

  constructor(context: Context, directories: readonly string[]) {
    const program = join(root, "test/posix/sequence.py");
    this.#child = spawn("python3", ["-B", program, ...directories], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.#waiting.shift()?.(line));
    undo(context, () => {
      this.#child.kill("SIGKILL");
    });
  }

  async run(name: string, calls: readonly unknown[]): Promise<unknown[]> {
    assert.equal(this.#child.exitCode, null, "the process that makes the calls has ended");
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(() => reject(new Error(`no answer in ${patienceMs} ms`)), patienceMs);
    const ended = () => reject(new Error("the process that makes the calls has ended"));
    this.#child.once("exit", ended);
    this.#waiting.push(resolve);
    this.#child.stdin!.write(`${JSON.stringify({ name, calls })}\n`);
    const line = await promise.finally(() => clearTimeout(timer));
    this.#child.off("exit", ended);
    return JSON.parse(line);
  }
}

function openDirectory(context: Context, parent?: string): string {
  const directory = parent === undefined ? scratch(context) : scratch(context, parent);
  chmodSync(directory, 0o755);
  return directory;
}

test("calls have the same results on a mount and on a local directory", {
  skip: whyNoMount() ?? false,
}, async (context) => {
  const cluster = await Cluster.start(context, { directory: openDirectory(context) });
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const volume = new Side(context, [one.point, two.point]);
  const local = new Side(context, [openDirectory(context, tmpdir())]);
  let number = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 5, maxLength: callsMax, size: "max" }), async (sequence) => {
      const name = `sequence-${++number}`;
      const [found, wanted] = await Promise.all([volume.run(name, sequence), local.run(name, sequence)]);
      for (const [index, result] of wanted.entries()) {
        const what = index < sequence.length ? JSON.stringify(sequence[index]) : "what is left, closing";
        assert.deepEqual(found[index], result, `call ${index + 1}, ${what}`);
      }
    }),
    {
      numRuns: runs,
      interruptAfterTimeLimit: timeMsMax,
      ...(process.env.BRINE_TEST_SEED && { seed: Number(process.env.BRINE_TEST_SEED) }),
    },
  );
  context.diagnostic(`${number} sequences`);
});
