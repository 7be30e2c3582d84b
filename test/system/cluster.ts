/**
 * Real processes and real mounts for the system tests: a cluster in a directory of its own, on free ports, stopped by
 * process id, unmounted and removed at the end, whatever happened.
 */
import { strict as assert } from "node:assert";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { limitPatience } from "./patience.ts";
import type { Place } from "./test-network.ts";

export const root = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
export const brine = join(root, "bin/brine");

/** `full` with `npm run test:system`: whole trees, longer runs. */
export const full = process.env.BRINE_TEST_SIZE === "full";

/** What a cluster needs of its test: a place for what must be undone. A benchmark has its own. */
export interface Context {
  after(undo: () => void | Promise<void>): void;
  /** False once the test has failed. */
  readonly passed?: boolean;
}

const undone = new WeakMap<Context, (() => unknown)[]>();

/** Undoes `step` after the test: the last one first, and each even if another fails. (The runner's hooks do neither.) */
export function undo(context: Context, step: () => unknown): void {
  const known = undone.get(context);
  if (known !== undefined) {
    known.push(step);
    return;
  }
  const steps = [step];
  undone.set(context, steps);
  context.after(async () => {
    let failure: unknown;
    while (steps.length > 0) {
      try {
        await steps.pop()!();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  });
}

const run = promisify(execFile);

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; never throws for its exit code. Killed after the deadline (exit code 137). */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number } = {},
): Promise<Output> {
  const { cwd, timeoutMs = 60_000 } = options;
  try {
    const { stdout, stderr } = await run(program, [...args], {
      cwd,
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      maxBuffer: 64 << 20,
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failure = error as { code?: number | string; killed?: boolean; stdout?: string; stderr?: string };
    const code = typeof failure.code === "number" ? failure.code : 137;
    const late = failure.killed === true ? `\n${program} had not ended after ${timeoutMs} ms, and was killed\n` : "";
    return { code, stdout: failure.stdout ?? "", stderr: `${failure.stderr ?? String(error)}${late}` };
  }
}

/** Runs a shell command that must succeed; returns its standard output. */
export async function shell(command: string, options: { cwd?: string; timeoutMs?: number } = {}): Promise<string> {
  const output = await runProgram("/bin/bash", ["-c", `set -euo pipefail; ${command}`], options);
  assert.equal(output.code, 0, `${command}\n${output.stdout}${output.stderr}`);
  return output.stdout;
}

export function runBrine(args: readonly string[], timeoutMs = 60_000): Promise<Output> {
  return runProgram(brine, args, { timeoutMs });
}

export function hasProgram(name: string): boolean {
  return spawnSync("/bin/sh", ["-c", `command -v ${name}`]).status === 0;
}

/** Why mounts can't be tested here, or undefined if they can. */
export function whyNoMount(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  return existsSync("/dev/fuse") ? undefined : "no /dev/fuse";
}

/** `count` ports in a row that are free now. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const taken = await Promise.all(Array.from({ length: count }, (_, index) => isTaken(first + index)));
    if (!taken.includes(true)) return first;
  }
  throw new Error("no free ports");
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(true));
    server.listen(port, "127.0.0.1", () => server.close(() => done(false)));
  });
}

/** Memory, where there is some: most tests are not about the disk, and a sync of it takes its time. */
const scratchParent = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** A fresh directory that is gone after the test. BRINE_TEST_KEEP names a parent where it stays, for the logs in it. */
export function scratch(context: Context, parent = scratchParent): string {
  const kept = process.env.BRINE_TEST_KEEP || undefined;
  const directory = mkdtempSync(join(kept ?? parent, "brine-test-"));
  if (kept === undefined) undo(context, () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export async function waitFor(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** A child process in a session of its own, its output in a file. Killed after the test if it still runs. */
export class Program {
  readonly child: ChildProcess;
  readonly logFile: string;
  readonly ended: Promise<number>;

  constructor(context: Context, program: string, args: readonly string[], logFile: string, cwd?: string) {
    const log = openSync(logFile, "a");
    this.logFile = logFile;
    this.child = spawn(program, [...args], { detached: true, stdio: ["ignore", log, log], cwd });
    closeSync(log);
    this.ended = new Promise((done) =>
      this.child.on("exit", (code, signal) => done(signal === null ? (code ?? 1) : 137)),
    );
    undo(context, async () => {
      if (context.passed === false) this.#tellLog();
      if (this.running) this.signal("SIGKILL");
      await this.#end();
    });
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number {
    return this.child.pid!;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Its exit code, once it has ended: by itself, or through this signal. Error: it goes on for half a minute. */
  async stop(signal: NodeJS.Signals): Promise<number> {
    this.signal(signal);
    return await this.#end();
  }

  log(): string {
    return readFileSync(this.logFile, "utf8");
  }

  async #end(timeoutMs = 30_000): Promise<number> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
      const message = () => `process ${this.pid} has not ended in ${timeoutMs} ms:\n${this.log().slice(-3000)}`;
      timer = setTimeout(() => fail(new Error(message())), timeoutMs);
    });
    return await Promise.race([this.ended, late]).finally(() => clearTimeout(timer));
  }

  /** Its files are gone when somebody reads of the failure. */
  #tellLog(): void {
    console.error(`the end of ${this.logFile}:\n${this.log().slice(-4000)}`);
  }
}

/** A Python process that a test talks to over its standard input; its output is there when it has ended. */
export function startPython(
  context: Context,
  args: readonly string[],
): { child: ChildProcess; ended: Promise<Output> } {
  const child = spawn("python3", [...args], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {}); // told by its end
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (bytes: Buffer) => (output.stdout += bytes.toString("latin1")));
  child.stderr.on("data", (bytes: Buffer) => (output.stderr += bytes.toString("latin1")));
  undo(context, () => {
    child.kill("SIGKILL");
  });
  const ended = new Promise<Output>((done) => {
    child.on("close", (code, signal) => done({ code: signal === null ? (code ?? 1) : 137, ...output }));
  });
  return { child, ended };
}

const loopback: Place = { host: "127.0.0.1", enter: [] };

/**
 * A cluster of servers as processes of their own (no quickstart, so that a test may kill and start each by itself):
 * server 1 has the metadata and a store, the others a store.
 */
export class Cluster {
  readonly directory: string;
  readonly addresses: string[] = [];
  readonly servers: Program[] = [];
  readonly #context: Context;
  readonly #dataOf: (index: number) => string;
  readonly #metadataAlone: boolean;
  readonly #places: readonly Place[];
  readonly #mounts = new Set<string>();

  private constructor(
    context: Context,
    directory: string,
    dataOf: (index: number) => string,
    metadataAlone: boolean,
    places: readonly Place[],
  ) {
    this.#places = places;
    this.#context = context;
    this.directory = directory;
    this.#dataOf = dataOf;
    this.#metadataAlone = metadataAlone;
  }

  /** Starts `count` servers and makes the volume `home` with up to two copies. */
  static async start(
    context: Context,
    options: {
      servers?: number;
      /** Server 1 has no store: so each store can be killed without the metadata. */
      metadataAlone?: boolean;
      /** For `brine server` of server 1, at its first start. */
      leaderOptions?: readonly string[];
      /** The same for server 2. */
      secondOptions?: readonly string[];
      directory?: string;
      dataOf?: (index: number) => string;
      /** Where each server runs, instead of this machine's loopback. */
      places?: readonly Place[];
      /** Called before a server's first start, with its data directory: to put a disk there. */
      prepare?: (index: number, path: string) => Promise<void>;
    } = {},
  ): Promise<Cluster> {
    const count = options.servers ?? 2;
    const directory = options.directory ?? scratch(context);
    const cluster = new Cluster(
      context,
      directory,
      options.dataOf ?? ((index) => join(directory, `server-${index + 1}`)),
      options.metadataAlone === true,
      options.places ?? [],
    );
    const port = await freePorts(count);
    for (let index = 0; index < count; index++) cluster.addresses.push(`${cluster.#place(index).host}:${port + index}`);
    undo(context, () => cluster.#unmountAll());
    for (let index = 0; index < count; index++) {
      await options.prepare?.(index, cluster.data(index));
      await cluster.startServer(index, [options.leaderOptions, options.secondOptions][index]);
    }
    const stores = options.metadataAlone === true ? count - 1 : count;
    await cluster.waitOnline(stores);
    const replicas = String(Math.min(2, stores));
    const made = await runBrine(["volume", "create", "home", cluster.addresses[0]!, "--replicas", replicas]);
    assert.equal(made.code, 0, made.stderr);
    return cluster;
  }

  get source(): string {
    return `${this.addresses[0]}/home`;
  }

  data(index: number): string {
    return this.#dataOf(index);
  }

  async startServer(index: number, options: readonly string[] = []): Promise<void> {
    const address = this.addresses[index]!;
    const first = this.#metadataAlone ? ["--roles", "metadata"] : [];
    const place = index === 0 ? first : ["--join", this.addresses[0]!];
    const { enter } = this.#place(index);
    const insecure = this.#places.length > 0 ? ["--insecure"] : [];
    const args = [
      ...enter,
      brine,
      "server",
      "--data",
      this.data(index),
      "--listen",
      address,
      ...place,
      ...insecure,
      ...options,
    ];
    const logFile = join(this.directory, `server-${index + 1}.log`);
    const mark = existsSync(logFile) ? readFileSync(logFile, "utf8").length : 0;
    const server = new Program(this.#context, args[0]!, args.slice(1), logFile);
    this.servers[index] = server;
    await waitFor(`server ${index + 1} to serve`, () => {
      assert.ok(server.running, `server ${index + 1} ended:\n${server.log().slice(mark)}`);
      return / serving /.test(server.log().slice(mark));
    });
  }

  #place(index: number): Place {
    return this.#places[index] ?? loopback;
  }

  /** SIGKILL, and gone when it returns. */
  async killServer(index: number): Promise<void> {
    await this.servers[index]!.stop("SIGKILL");
  }

  async stopServer(index: number): Promise<void> {
    await this.servers[index]!.stop("SIGTERM");
  }

  // biome-ignore lint/suspicious/noExplicitAny: what the program printed is checked by the test that asks
  async status(index = 0): Promise<any> {
    const output = await runBrine(["status", this.addresses[index]!, "--json"]);
    assert.equal(output.code, 0, output.stderr);
    return JSON.parse(output.stdout);
  }

  async waitOnline(count: number): Promise<void> {
    await waitFor(`${count} stores online`, async () => {
      const { servers } = await this.status();
      return (
        servers.filter((one: { state: string; store: number }) => one.store !== 0 && one.state === "online").length ===
        count
      );
    });
  }

  /** All copies of all groups are in sync. */
  async waitInSync(timeoutMs = 60_000): Promise<void> {
    await waitFor(
      "all copies in sync",
      async () => {
        const { servers } = await this.status();
        return servers.every(
          (one: { groupsCatchingUp: number; groupsBehind: number }) => one.groupsCatchingUp + one.groupsBehind === 0,
        );
      },
      timeoutMs,
    );
  }

  /** Mounts `home` in a process of its own and returns it; the mount point is `directory`/NAME. */
  async mount(
    name: string,
    options: readonly string[] = [],
    place: Place = loopback,
    address = this.addresses[0]!,
  ): Promise<Mount> {
    const point = join(this.directory, name);
    mkdirSync(point, { recursive: true });
    this.#mounts.add(point);
    const args = [...place.enter, brine, "mount", `${address}/home`, point, "--foreground", ...options];
    const logFile = join(this.directory, `${name}.log`);
    const mark = existsSync(logFile) ? readFileSync(logFile, "utf8").length : 0;
    const program = new Program(this.#context, args[0]!, args.slice(1), logFile);
    // First of all: a client whose thread is blocked in the kernel can't even be killed before.
    undo(this.#context, () => abortMount(point));
    undo(this.#context, limitPatience({ point, pid: program.pid, logFile, brine, address }));
    await waitFor(`${name} to be mounted`, () => {
      assert.ok(program.running, `the mount ended:\n${program.log().slice(mark)}`);
      // The line before it is of the kernel: signals are not heeded yet.
      return / mount: mounted /.test(program.log().slice(mark));
    });
    return new Mount(point, program);
  }

  #unmountAll(): void {
    for (const point of this.#mounts) abortMount(point);
  }
}

/** Unmounts, and ends the connection: whoever waits for an answer gets an error. */
function abortMount(point: string): void {
  spawnSync("umount", ["-f", "-l", point]);
}

export class Mount {
  readonly point: string;
  readonly program: Program;

  constructor(point: string, program: Program) {
    this.point = point;
    this.program = program;
  }

  async unmount(): Promise<void> {
    assert.equal(await this.program.stop("SIGTERM"), 0, this.program.log());
  }

  /** SIGKILL, and what the kernel still shows is cleared. */
  async kill(): Promise<void> {
    this.program.signal("SIGKILL");
    abortMount(this.point);
    await this.program.ended;
  }
}
