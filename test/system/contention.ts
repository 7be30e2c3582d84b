/** Runs contenders (see contender.py) on several mounts and judges what they leave behind. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { type Context, root, shell, startPython } from "./cluster.ts";

export type Mode = "names" | "page" | "memory" | "log";

/** By the machine's clock. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** An operation's. */
export interface LongWait extends Span {
  readonly what: string;
}

export interface Outcome {
  readonly operations: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly slowestMs: number;
  readonly slowest: string;
  /** Of a quarter of a second and more, in the order of their ends. */
  readonly longWaits: LongWait[];
  readonly made: string[];
  readonly removed: number;
  readonly last: Record<string, string>;
  readonly count: number;
}

/** Beyond its time a contender may wait for a server that is starting. Then it hangs. */
const patienceMs = 30_000;

export interface Fight {
  /** Ends it before its time is over. */
  stop(): void;
  readonly outcomes: Promise<Outcome[]>;
}

/** One contender for each of the directories (the same one, on different mounts). */
export function startFight(
  context: Context,
  mode: Mode,
  directories: readonly string[],
  options: { seconds: number; seed: number },
): Fight {
  const programs = directories.map((directory, index) =>
    startPython(context, [
      join(root, "test/system/contender.py"),
      mode,
      directory,
      String(index),
      String(options.seconds),
      String(options.seed + index),
    ]),
  );
  return {
    stop: () => {
      for (const one of programs) one.child.stdin!.end("stop\n");
    },
    outcomes: Promise.all(
      programs.map(async (one, index) => {
        let timer: NodeJS.Timeout | undefined;
        const hangs = new Promise<never>((_, fail) => {
          timer = setTimeout(
            () => fail(new Error(`contender ${index} for ${mode} hangs`)),
            options.seconds * 1_000 + patienceMs,
          );
        });
        const { code, stdout, stderr } = await Promise.race([one.ended, hangs]).finally(() => clearTimeout(timer));
        assert.equal(code, 0, `contender ${index} for ${mode}: ${stderr}`);
        return JSON.parse(stdout) as Outcome;
      }),
    ),
  };
}

export function summary(outcomes: readonly Outcome[]): string {
  return outcomes
    .map(
      (one) =>
        `${one.operations} operations, median ${one.medianMs.toFixed(2)} ms, 99 % ${one.p99Ms.toFixed(1)} ms, ` +
        `slowest ${one.slowest} ${one.slowestMs.toFixed(0)} ms`,
    )
    .join("; ");
}

/** How long the operation waited outside of these spans, which don't overlap. */
export function waitedOutside({ fromMs, toMs }: Span, spans: readonly Span[]): number {
  const inside = spans.map((span) => Math.max(0, Math.min(toMs, span.toMs) - Math.max(fromMs, span.fromMs)));
  return inside.reduce((left, ms) => left - ms, toMs - fromMs);
}

export function assertNoWaitOver(limitMs: number, outcomes: readonly Outcome[]): void {
  for (const one of outcomes) assert.ok(one.slowestMs <= limitMs, `${one.slowest} took ${one.slowestMs.toFixed(0)} ms`);
}

/** Every file that was made is there once, unless it was removed; and both mounts say so. */
export function judgeNames(directories: readonly string[], outcomes: readonly Outcome[]): void {
  const made = new Set(outcomes.flatMap((one) => one.made));
  const removed = outcomes.reduce((sum, one) => sum + one.removed, 0);
  const views = directories.map((directory) =>
    readdirSync(directory)
      .filter((name) => /^n\d+$/.test(name))
      .sort()
      .map((name) => `${name} ${readFileSync(join(directory, name), "latin1")}`),
  );
  for (const view of views) assert.deepEqual(view, views[0], "both mounts list the same files with the same content");
  const contents = views[0]!.map((line) => line.split(" ")[1]!);
  assert.equal(new Set(contents).size, contents.length, `no file is there twice: ${contents}`);
  for (const content of contents) assert.ok(made.has(content), `"${content}" was made`);
  assert.equal(contents.length, made.size - removed, `${made.size} made, ${removed} removed`);
}

/** Each record of the page is the last that its owner wrote; a shared one is somebody's last. */
export function judgePage(directories: readonly string[], outcomes: readonly Outcome[], name = "page"): void {
  for (const directory of directories) {
    const page = readFileSync(join(directory, name), "latin1");
    for (let slot = 0; slot < 256; slot++) {
      const lasts = outcomes.map((one) => one.last[slot]).filter((one) => one !== undefined);
      if (lasts.length === 0) continue;
      const found = page.slice(slot * 16, slot * 16 + 16);
      assert.ok(lasts.includes(found), `record ${slot} is ${JSON.stringify(found)}, last written were ${lasts}`);
    }
  }
}

/** Line by line: the log of a long fight is larger than a string can be. */
function* linesOf(bytes: Buffer): Generator<[number: number, line: string]> {
  let number = 0;
  for (let from = 0, to = bytes.indexOf("\n"); to >= 0; from = to + 1, to = bytes.indexOf("\n", from)) {
    yield [number++, bytes.toString("latin1", from, to)];
  }
}

/** Every line once, in its writer's order, none torn. */
export function judgeLog(directories: readonly string[], outcomes: readonly Outcome[]): void {
  const [log, ...others] = directories.map((directory) => readFileSync(join(directory, "log"))) as [
    Buffer,
    ...Buffer[],
  ];
  for (const other of others) assert.ok(log.equals(other), "both mounts have the same log");
  const counts = outcomes.map(() => 0);
  for (const [number, line] of linesOf(log)) {
    const body = line.slice(0, -9);
    assert.equal(
      crc32(body).toString(16).padStart(8, "0"),
      line.slice(-8),
      `line ${number} is torn: ${line.slice(0, 60)}`,
    );
    const [who, count] = body.split(" ", 2).map(Number) as [number, number];
    assert.equal(count, counts[who], `line ${number} is the next of writer ${who}`);
    counts[who]!++;
  }
  assert.deepEqual(
    counts,
    outcomes.map((one) => one.count),
    "all lines are there",
  );
}

/** What was fought for, on the first mount, ready for the others. */
export async function prepareFight(directory: string): Promise<void> {
  await shell(`mkdir -p ${directory} && cd ${directory} && head -c 4096 /dev/zero > page && cp page memory`);
}
