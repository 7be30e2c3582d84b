/**
 * The guard: a process beside the one that serves the mount, for the time when that one can't act.
 *
 * It shares a small file with us: until when our session counts, and which nodes have pages of mapped memory in the kernel.
 *
 * - **We are stopped** (SIGSTOP, a debugger) and the session's time runs out: others may get our leases, and nobody must go
 *   on reading old pages here. The guard tells the kernel to forget names and these pages; if that blocks, because the
 *   kernel waits for answers of ours, it cuts the connection. Waking up we find it cut, and mount anew (cli/mount.ts).
 * - **We die**: usually the kernel then ends the connection itself. But the guard has the descriptor too, and a thread of
 *   ours that is telling the kernel to forget pages may wait for an answer that never comes, and can't be killed. So the
 *   guard cuts the connection, as soon as the kernel signals our death to it (PR_SET_PDEATHSIG, prctl(2)) or its input ends.
 *
 * The connection is cut through its `abort` file (fusectl, Documentation/filesystems/fuse.rst), opened at the start: a
 * later mount with the same number is never hit. Without setpriv(1) or fusectl (systemd mounts it; else we try) there is no
 * guard. A guard that is killed is not replaced, and the log says so:
 * pages then stay, when we are stopped, until we wake up.
 *
 * Uses child_process and fs directly: it is a way out to the kernel.
 */
import { execFile, spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type PageWatch, stateLayout } from "../page-watch.ts";

const control = "/sys/fs/fuse/connections";
const memoryDirectory = "/dev/shm";
/** mount(8) of a file system without a disk. */
const mountTimeoutMs = 5_000;
const program = fileURLToPath(new URL("./guard-process.ts", import.meta.url));

export interface Guard extends PageWatch {
  /** The guard cut the connection because we were stopped. */
  hasCut(): boolean;
  /** The connection has ended, or is to end now: the guard cuts it and goes. Idempotent. */
  dismiss(): void;
}

/**
 * @param device `major:minor` of the mounted file system
 * @param descriptor of /dev/fuse
 * @param onGone it has ended, or could not be started, without being dismissed
 */
export async function startGuard(device: string, descriptor: number, onGone: () => void): Promise<Guard | undefined> {
  const path = `${control}/${device.split(":")[1]}/abort`;
  if (!existsSync(path)) await mountControl();
  if (!existsSync(path)) return undefined;
  const state = openState();
  const abort = openSync(path, "w");
  // Detached: what is sent to our process group (Ctrl-C, SIGSTOP) is not meant for it.
  const child = spawn("setpriv", ["--pdeathsig", "USR2", process.execPath, program], {
    stdio: ["pipe", "ignore", "ignore", descriptor, state, abort],
    detached: true,
  });
  closeSync(abort);
  let isDismissed = false;
  const gone = () => {
    if (!isDismissed) onGone();
  };
  child.on("error", gone);
  child.on("exit", gone);
  child.stdin!.on("error", () => {});
  child.unref();
  return new RunningGuard(state, () => {
    isDismissed = true;
    child.stdin!.destroy();
  });
}

/** A file without a name, in memory. */
function openState(): number {
  const directory = mkdtempSync(join(existsSync(memoryDirectory) ? memoryDirectory : tmpdir(), "brine-guard-"));
  try {
    const state = openSync(join(directory, "state"), "w+");
    writeSync(state, Buffer.alloc(stateLayout.nodes), 0, stateLayout.nodes, 0);
    return state;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

class RunningGuard implements Guard {
  readonly #state: number;
  readonly #end: () => void;
  readonly #word = Buffer.alloc(stateLayout.slotBytes);
  /** By node: the slot in which it stands. */
  readonly #slots = new Map<number, number>();
  readonly #free: number[] = [];
  #isDismissed = false;
  #hasCut = false;

  constructor(state: number, end: () => void) {
    this.#state = state;
    this.#end = end;
  }

  standsUntil(untilMs: number): void {
    this.#put(stateLayout.deadline, untilMs);
  }

  hasPages(node: number): void {
    if (this.#isDismissed || this.#slots.has(node)) return;
    const slot = this.#free.pop() ?? this.#slots.size;
    this.#slots.set(node, slot);
    this.#put(stateLayout.nodes + slot * stateLayout.slotBytes, node);
  }

  hasNone(node: number): void {
    const slot = this.#slots.get(node);
    if (this.#isDismissed || slot === undefined) return;
    this.#slots.delete(node);
    this.#free.push(slot);
    this.#put(stateLayout.nodes + slot * stateLayout.slotBytes, 0);
  }

  hasCut(): boolean {
    if (this.#isDismissed) return this.#hasCut;
    readSync(this.#state, this.#word, 0, stateLayout.slotBytes, stateLayout.cut);
    return this.#word.readDoubleLE(0) !== 0;
  }

  dismiss(): void {
    if (this.#isDismissed) return;
    this.#hasCut = this.hasCut();
    this.#isDismissed = true;
    this.#end();
    closeSync(this.#state);
  }

  #put(at: number, value: number): void {
    if (this.#isDismissed) return;
    this.#word.writeDoubleLE(value, 0);
    writeSync(this.#state, this.#word, 0, stateLayout.slotBytes, at);
  }
}

function mountControl(): Promise<void> {
  return new Promise((resolve) => {
    execFile("mount", ["-t", "fusectl", "fusectl", control], { timeout: mountTimeoutMs }, () => resolve());
  });
}
