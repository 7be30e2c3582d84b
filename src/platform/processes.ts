/**
 * This process and its children: arguments, output, signals, starting others. Only the command line uses it; servers and
 * clients never do, so that they run in the simulation.
 */
import { type ChildProcess as NodeChild, spawn } from "node:child_process";
import { chmodSync, closeSync, openSync, readFileSync, renameSync, rmdirSync, writeFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { getSystemErrorMessage } from "node:util";
import { BrineError, type BrineErrorCode } from "../errors/brine-error.ts";

/** Where this user's processes keep their logs, and what is good until the next reboot. */
export const userDirectories = directoriesOf(process.geteuid?.() === 0);

/** An ordinary user's are where the XDG Base Directory Specification has them. */
function directoriesOf(isRoot: boolean): { readonly logs: string; readonly running: string } {
  if (isRoot) return { logs: "/var/log/brinefs", running: "/run/brinefs" };
  const { XDG_STATE_HOME, XDG_RUNTIME_DIR } = process.env;
  const state = `${XDG_STATE_HOME ?? `${homedir()}/.local/state`}/brinefs`;
  return { logs: state, running: XDG_RUNTIME_DIR === undefined ? state : `${XDG_RUNTIME_DIR}/brinefs` };
}

export const thisProcess = {
  pid: process.pid,
  uid: process.getuid?.() ?? -1,
  gid: process.getgid?.() ?? -1,
  groups: (process.getgroups?.() ?? []) as readonly number[],
  host: hostname(),
  arguments: process.argv as readonly string[],
  /** Addresses of the cluster that its user works with, as text; undefined if the environment names none. */
  cluster: process.env.BRINE_CLUSTER || undefined,
  /** Columns of the terminal, or undefined where the output is not one. */
  get terminalColumns(): number | undefined {
    return process.stdout.isTTY ? process.stdout.columns : undefined;
  },
};

let residentBytes = 0;

/** What the process has used so far. */
export function processFigures(): { cpuSeconds: number; residentBytes: number } {
  const { user, system } = process.cpuUsage();
  try {
    residentBytes = process.memoryUsage.rss();
  } catch {
    // Without a file descriptor left it can't be read: what it was before is still about right.
  }
  return { cpuSeconds: (user + system) / 1e6, residentBytes };
}

export function absolutePath(path: string): string {
  return resolve(path);
}

/**
 * Servers and mounts go on when what they print can't be written: nobody reads it, or the disk with the log is full. A command ends,
 * without a reader as by SIGPIPE: `brine ls … | head`.
 */
let outlivesOutput = false;
const brokenPipeCode = 128 + 13;

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (outlivesOutput) return;
    if (error.code === "EPIPE") process.exit(brokenPipeCode);
    if (stream === process.stdout) process.stderr.write(`brine: the output can't be written: ${error.code}\n`);
    process.exit(1);
  });
}

/** From here on this process goes on when its output can't be written. */
export function outliveOutput(): void {
  outlivesOutput = true;
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function printError(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Writes bytes to the standard output; resolves when there is room for more. */
export function printBytes(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/** What an error number means, in words: `no such file or directory`. */
export function errnoText(errno: number): string {
  return getSystemErrorMessage(-errno) ?? `error ${errno}`;
}

/** Empties the screen of the terminal, so that what is printed next begins at its top. */
export function clearTerminal(): void {
  process.stdout.write("\x1b[H\x1b[2J\x1b[3J");
}

export function setExitCode(code: number): void {
  process.exitCode = code;
}

/** Ends the process now. For the end of `main` only: what is open must have been closed. */
export function exitNow(code: number): never {
  process.exit(code);
}

/** From a parent that ends and wants its child to live on. */
const releaseMessage = "live on";

/** Calls back on SIGINT, SIGTERM, and when the parent that started this process has gone. Once. It outlives its output, too. */
export function onStopRequest(callback: (reason: string) => void): void {
  outliveOutput();
  let called = false;
  const once = (reason: string) => {
    if (called) return;
    called = true;
    callback(reason);
  };
  process.on("SIGINT", () => once("SIGINT"));
  process.on("SIGTERM", () => once("SIGTERM"));
  process.on("SIGHUP", () => once("SIGHUP"));
  if (process.send === undefined) return;
  let released = false;
  process.on("message", (message) => {
    if (message === releaseMessage) released = true;
  });
  process.on("disconnect", () => {
    if (!released) once("parent has gone");
  });
}

/** Last resort: a defect that nobody caught ends the process, with its stack in the log. */
export function onDefect(callback: (error: unknown) => void): void {
  process.on("uncaughtException", callback);
  process.on("unhandledRejection", callback);
}

/** Tells the process that started this one, if there is one, that it serves. @param ready its address, or the place */
export function tellReady(ready: string): void {
  tellParent({ ready });
}

/** Tells the process that started this one, if there is one, why it doesn't serve. */
export function tellFailed(error: unknown): void {
  const { code, message, advice } = error instanceof BrineError ? error : new BrineError("internal", String(error));
  tellParent({ failed: { code, message, ...(advice !== undefined && { advice }) } });
}

/** What a child says about its start: that it serves, or why it can't. */
type ChildMessage =
  | { readonly ready: string }
  | { readonly failed: { readonly code: BrineErrorCode; readonly message: string; readonly advice?: string } };

function tellParent(message: ChildMessage): void {
  process.send?.(message);
}

export interface ChildEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface Child {
  readonly pid: number;
  /** Resolves with the address (or place) that it serves, or rejects with why it does not. */
  readonly ready: Promise<string>;
  readonly ended: Promise<ChildEnd>;
  readonly running: boolean;
  signal(signal: "SIGTERM" | "SIGKILL" | "SIGINT"): void;
  /** Lets it live on when this process ends. Resolves when it knows. */
  release(): Promise<void>;
}

/** The program `brine` as a path that stays right wherever it is called from. */
export const launcher = fileURLToPath(new URL("../../bin/brine", import.meta.url));

/**
 * Starts `brine` with these arguments in a session of its own (a Ctrl-C at the terminal does not reach it), its output
 * appended to `logFile`. It stops by itself when this process dies.
 */
export function startBrine(args: readonly string[], logFile: string): Child {
  const log = openSync(logFile, "a");
  const child = spawn(launcher, args, { detached: true, stdio: ["ignore", log, log, "ipc"] });
  closeSync(log);
  return childOf(child, logFile);
}

/** Runs a shell command in the foreground, with this process's terminal; resolves with its exit code as a shell has it. */
export function runShell(
  command: string,
  directory: string,
): { ended: Promise<number>; signal(name: "SIGTERM"): void } {
  const child = spawn("/bin/sh", ["-c", command], { stdio: "inherit", cwd: directory });
  const ended = new Promise<number>((done) => {
    child.on("error", () => done(127));
    child.on("exit", (code, signal) => done(code ?? 128 + signalNumber(signal)));
  });
  return { ended, signal: (name) => void child.kill(name) };
}

function childOf(child: NodeChild, logFile: string): Child {
  let running = true;
  const ended = new Promise<ChildEnd>((done) => {
    const end = (code: number | null, signal: string | null) => {
      running = false;
      done({ code, signal });
    };
    child.on("exit", end);
    child.on("error", () => end(127, null));
  });
  const ready = new Promise<string>((done, fail) => {
    child.on("message", (message: ChildMessage) => {
      if ("ready" in message) done(message.ready);
      else fail(new BrineError(message.failed.code, message.failed.message, message.failed));
    });
    child.on("error", fail);
    child.on("exit", (code, signal) => {
      const what = `its process ended with ${signal ?? `exit code ${code}`} before it served`;
      fail(new BrineError("internal", what, { advice: `see ${logFile}` }));
    });
  });
  ready.catch(() => {}); // whoever waits for it sees the error; nobody has to wait
  return {
    pid: child.pid ?? -1,
    ready,
    ended,
    get running() {
      return running;
    },
    signal: (name) => void child.kill(name),
    release: () =>
      new Promise<void>((done) => {
        child.send(releaseMessage, () => {
          child.disconnect();
          child.unref();
          done();
        });
      }),
  };
}

function signalNumber(signal: string | null): number {
  const numbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };
  return numbers[signal ?? ""] ?? 0;
}

/** Makes or replaces a script that everybody may run. Errors: as fs has them. */
export function writeProgram(path: string, text: string): void {
  const temporary = `${path}.new`;
  writeFileSync(temporary, text);
  chmodSync(temporary, 0o755);
  renameSync(temporary, path);
}

/** Sends a signal to a process by id; false if there is no such process. */
export function signalProcess(pid: number, signal: "SIGTERM" | "SIGKILL"): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/**
 * When a process was started, in clock ticks since boot (proc(5), stat field 22), or undefined if it does not run.
 * With the pid it names one process for good, although pids are used again.
 */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** A process named by pid and start time is still there. */
export function isRunning(pid: number, start: string): boolean {
  return processStart(pid) === start;
}

/** Removes a directory that this process made, if nobody has put anything into it. */
export function removeEmptyDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "ENOENT" && code !== "EBUSY") throw error;
  }
}
