/**
 * Random work of several processes on two mounts: at no time two have locks that can't be together, whoever is interrupted
 * holds nothing by it, and at the end nothing is left.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { overlap, RangeLocks } from "../locks/range-locks.ts";
import type { Client } from "./client.ts";
import { type Handle, type LockRange, lockEnd } from "./file-system.ts";
import { file, TestCluster } from "./testing/test-cluster.ts";

const fileCount = 2;
const bytes = 6;
const stepsEach = 120;
/** Longest time for which a process is content with waiting. */
const patienceMs = 40;

/** A fixed sequence for each process; what happens meanwhile elsewhere differs from run to run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

class Process {
  readonly #client: Client;
  readonly #number: number;
  readonly #handles: Handle[];
  readonly #held: readonly Record<LockRange["kind"], RangeLocks<number>>[];
  readonly #random: (below: number) => number;
  outcomes = { held: 0, refused: 0, interrupted: 0, deadlocks: 0 };

  constructor(client: Client, number: number, handles: Handle[], held: Process["held"]) {
    this.#client = client;
    this.#number = number;
    this.#handles = handles;
    this.#held = held;
    this.#random = random(number * 7919);
  }

  /** What all processes were told that they hold, by file. */
  get held(): readonly Record<LockRange["kind"], RangeLocks<number>>[] {
    return this.#held;
  }

  async run(): Promise<void> {
    for (let step = 0; step < stepsEach; step++) {
      const at = this.#random(fileCount);
      const [from, to] = [BigInt(this.#random(bytes)), BigInt(this.#random(bytes))];
      const kind = this.#random(4) === 0 ? "flock" : "posix";
      const range =
        kind === "flock"
          ? { start: 0n, end: lockEnd }
          : from < to
            ? { start: from, end: to }
            : { start: to, end: from };
      const mode = this.#random(3) === 0 ? "shared" : "exclusive";
      const lock: LockRange = { kind, owner: BigInt(this.#number), mode, ...range, pid: this.#number };
      const action = this.#random(10);
      if (action < 5) await this.#lock(at, lock, action < 3);
      else if (action < 9) await this.#unlock(at, lock);
      else await this.#reopen(at);
    }
    for (let at = 0; at < fileCount; at++) await this.#reopen(at);
  }

  async #lock(at: number, lock: LockRange, wait: boolean): Promise<void> {
    const held = this.#held[at]![lock.kind];
    // While it is being made weaker, others may have been let in already.
    if (lock.mode === "shared" && held.of(this.#number).some((one) => overlap(one, lock))) {
      for (const one of held.of(this.#number)) {
        if (one.mode === "exclusive" && overlap(one, lock)) held.set(this.#number, one, "shared");
      }
    }
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.#random(patienceMs));
    try {
      await this.#client.setLock(this.#handles[at]!, lock, wait, abort.signal);
    } catch (error) {
      assert.ok(error instanceof FileError, String(error));
      const counted = { EAGAIN: "refused", EINTR: "interrupted", EDEADLK: "deadlocks" } as const;
      this.outcomes[counted[error.code as keyof typeof counted]] += 1;
      return;
    } finally {
      clearTimeout(timer);
    }
    this.outcomes.held += 1;
    const conflict = held.conflict(this.#number, lock, lock.mode);
    assert.equal(conflict, undefined, `${lock.kind} ${lock.mode} ${lock.start}–${lock.end} of ${this.#number}`);
    held.set(this.#number, lock, lock.mode);
  }

  async #unlock(at: number, lock: LockRange): Promise<void> {
    this.#held[at]![lock.kind].set(this.#number, lock, undefined);
    await this.#client.unlock(this.#handles[at]!, lock);
  }

  async #reopen(at: number): Promise<void> {
    const { inode } = this.#handles[at]!;
    for (const kind of ["posix", "flock"] as const) this.#held[at]![kind].drop(this.#number);
    this.#client.close(this.#handles[at]!);
    this.#handles[at] = await this.#client.open(inode, {});
  }
}

test("random locks of processes on two mounts", async (context) => {
  const cluster = await TestCluster.start(context);
  const clients = [await cluster.mount(), await cluster.mount()];
  const inodes: number[] = [];
  for (let at = 0; at < fileCount; at++) {
    const made = await clients[at]!.createAndOpen(clients[at]!.root, `file${at}`, file, {});
    clients[at]!.close(made.handle);
    inodes.push(made.attributes.inode);
    await clients[1 - at]!.lookup(clients[1 - at]!.root, `file${at}`);
  }
  const held = inodes.map(() => ({ posix: new RangeLocks<number>(), flock: new RangeLocks<number>() }));
  const processes: Process[] = [];
  for (let number = 1; number <= 6; number++) {
    const client = clients[number % 2]!;
    const handles = await Promise.all(inodes.map((inode) => client.open(inode, {})));
    processes.push(new Process(client, number, handles, held));
  }
  // Alone at first, and at last: then locks are set under leases.
  await processes[0]!.run();
  await Promise.all(processes.slice(1).map((one) => one.run()));
  const sum = { held: 0, refused: 0, interrupted: 0, deadlocks: 0 };
  for (const { outcomes } of processes) {
    for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += outcomes[name];
  }
  for (const [name, count] of Object.entries(sum)) assert.ok(count > 0, `nothing was ${name}`);
  for (const client of clients) {
    for (const inode of inodes) {
      const handle = await client.open(inode, {});
      for (const kind of ["posix", "flock"] as const) {
        const whole = { kind, owner: 99n, mode: "exclusive", start: 0n, end: lockEnd, pid: 99 } as const;
        await client.setLock(handle, whole, true, AbortSignal.timeout(5_000));
        await client.unlock(handle, whole);
      }
      client.close(handle);
    }
  }
});
