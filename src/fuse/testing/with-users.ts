/** A memory mount with two processes that use it, for tests of one scene; and waits that must not be long. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { isMounted, MountedChild } from "./mounted-child.ts";
import { UserProcess } from "./user-process.ts";

/** False, or why such tests can't run here. */
export const skipUsers = canRun() ? false : "needs root, /dev/fuse and python3";

/** Waits that should be short, and must not be the mark of a hang that ends by itself. */
const promptMs = 5_000;

function canRun(): boolean {
  try {
    execFileSync("python3", ["--version"], { stdio: "ignore" });
    return process.getuid?.() === 0 && existsSync("/dev/fuse");
  } catch {
    return false;
  }
}

export interface Scene {
  readonly child: MountedChild;
  readonly user: UserProcess;
  /** A second process, for what blocks. */
  readonly other: UserProcess;
}

/** `words`: see mount-memory.ts. At the end everything must be closed and unlocked. */
export async function withUsers(words: readonly string[], body: (scene: Scene) => Promise<void>): Promise<void> {
  const child = await MountedChild.start(words);
  const users: UserProcess[] = [];
  try {
    assert.equal(child.output, "mounted\n");
    const [user, other] = [new UserProcess(child.directory), new UserProcess(child.directory)];
    users.push(user, other);
    for (const one of users) await one.ask("0"); // they have started
    await body({ child, user, other });
    for (const one of users) await one.end();
    assert.deepEqual(await child.ask({ do: "locks" }), { count: 0 });
    assert.match(await child.end(), /ended: unmounted, 0 handles open\n$/);
    assert.equal(isMounted(child.directory), false);
  } finally {
    await child.end("SIGKILL"); // first: it may hold answers that the users wait for
    for (const one of users) await one.kill();
    await child.clear();
  }
}

export async function promptly<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it blocks")), promptMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
