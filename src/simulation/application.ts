/** One simulated application: does what the workload chooses, one operation after the other, on one of its mounts. */

import type { Handle } from "../client/file-system.ts";
import { observe } from "./audit.ts";
import type { HindsightChecker } from "./checkers/hindsight.ts";
import type { FileOperation } from "./file-operation.ts";
import type { SimulatedKernel } from "./kernel.ts";
import type { ModelLock } from "./model.ts";
import { type Mount, MountDied, type MountPoint } from "./mount.ts";
import type { OpenHandle, Recorder } from "./recorder.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { Choice, OpenFile, Workload } from "./workload.ts";

/** Files that one application has open at most. */
const openFilesMax = 4;
/** Sessions of dead clients end within all tries; what is still under way then waits for what another operation has to do. */
const crowdedUs = 20_000;
const crowdedTriesMax = 600;

/** Pauses between operations, mostly none: so that bursts and quiet moments happen. */
const defaultThinkUsMax = 120_000;

type HeldFile = OpenFile & OpenHandle;

export class Application {
  readonly #clients: readonly MountPoint[];
  readonly #recorder: Recorder;
  readonly #checker: HindsightChecker;
  readonly #workload: Workload;
  readonly #scheduler: Scheduler;
  readonly #random: SimulatedRandom;
  readonly #thinkUsMax: number;
  /** Open files by mount: what was open on one that was cut off is not on the next of the same process. */
  readonly #open = new Map<SimulatedKernel, HeldFile[]>();
  /** What is to follow, and where. */
  #walk: { readonly client: MountPoint; readonly kernel: SimulatedKernel; readonly rest: FileOperation[] } | undefined;

  constructor(
    clients: readonly MountPoint[],
    parts: {
      recorder: Recorder;
      checker: HindsightChecker;
      workload: Workload;
      scheduler: Scheduler;
      thinkUsMax?: number;
    },
    random: SimulatedRandom,
  ) {
    this.#clients = clients;
    this.#recorder = parts.recorder;
    this.#checker = parts.checker;
    this.#workload = parts.workload;
    this.#scheduler = parts.scheduler;
    this.#random = random;
    this.#thinkUsMax = parts.thinkUsMax ?? defaultThinkUsMax;
  }

  /** Goes on until `enough`. Errors: Violation. */
  async work(enough: () => boolean): Promise<void> {
    while (!enough()) {
      const client = this.#walk?.client ?? this.#random.pick(this.#clients);
      const mount = await client.mount();
      if (enough()) break;
      await this.#on(client, mount, () => this.#step(client, mount));
      if (this.#random.chance(0.3)) await this.#think();
    }
    for (const client of this.#clients) {
      const mount = await client.mount();
      await this.#on(client, mount, async () => {
        for (const file of this.#open.get(mount.kernel)?.splice(0) ?? []) await this.#close(mount, file);
      });
    }
  }

  async #on(client: MountPoint, mount: Mount, body: () => Promise<void>): Promise<void> {
    try {
      await body();
    } catch (error) {
      if (!(error instanceof MountDied)) throw error;
      this.#open.delete(mount.kernel);
      client.replace(mount);
    }
  }

  /** Where the checker could lose track, operations come one after the other for a while: but those end that others wait for. */
  async #whileCrowded(): Promise<void> {
    for (let tries = 0; this.#checker.isCrowded && tries < crowdedTriesMax; tries++) {
      await new Promise<void>((resolve) => this.#scheduler.schedule(crowdedUs, "crowded", resolve));
    }
  }

  async #step(client: MountPoint, mount: Mount): Promise<void> {
    await this.#whileCrowded();
    const open = this.#open.get(mount.kernel) ?? [];
    this.#open.set(mount.kernel, open);
    const isKnown = (inode: number) => mount.kernel.knows(inode);
    const choice =
      this.#nextOfWalk(mount, open) ??
      this.#workload.next(this.#checker.possibleModels[0], open, this.#recorder.nextId, isKnown);
    const { operation, file, source, rest } = choice;
    if (rest !== undefined) this.#walk = { client, kernel: mount.kernel, rest };
    if (opens(operation) && open.length >= openFilesMax) {
      await this.#close(mount, open.shift()!);
      return;
    }
    if (operation.kind === "close") {
      open.splice(open.indexOf(file!), 1);
      await this.#close(mount, file!);
      return;
    }
    const { outcome, opened, doubtful } = await this.#recorder.perform(mount, operation, file?.handle, source?.handle);
    if (mount.kernel.isCut) {
      await this.#leaveCut(client, mount);
      return;
    }
    if (doubtful) await this.#lookAgain(mount, operation, file, open);
    if (opened === undefined) return;
    const inode = outcome.kind === "attributes" ? outcome.attributes.inode : opened.handle.inode;
    open.push({ inode, append: operation.kind === "open" && operation.append, ...opened });
  }

  /** Undefined: everything is done, or the mount has gone. */
  #nextOfWalk({ kernel }: Mount, open: readonly HeldFile[]): Choice<HeldFile> | undefined {
    const rest = this.#walk?.kernel === kernel ? this.#walk.rest : [];
    for (;;) {
      const operation = rest.shift();
      if (operation === undefined) break;
      if (operation.kind === "read" || operation.kind === "close") {
        const file = open.findLast(({ inode }) => inode === operation.inode);
        if (file === undefined) continue;
        return { operation, file };
      }
      if (!("inode" in operation) || kernel.knows(operation.inode)) return { operation };
    }
    this.#walk = undefined;
    return undefined;
  }

  /** The mount was cut off, and what was open on it is no more. Locks are taken off by whoever had them, on the next one. */
  async #leaveCut(client: MountPoint, mount: Mount): Promise<void> {
    const lost = this.#open.get(mount.kernel) ?? [];
    this.#open.delete(mount.kernel);
    const next = await client.mount();
    for (const inode of new Set(lost.map((file) => file.inode))) await this.#unlock(next, inode);
  }

  /** After an error that says nothing: what has it done? A handle that has failed is of no use any more. */
  async #lookAgain(
    mount: Mount,
    operation: FileOperation,
    file: HeldFile | undefined,
    open: HeldFile[],
  ): Promise<void> {
    if (file !== undefined && open.includes(file)) {
      open.splice(open.indexOf(file), 1);
      await this.#close(mount, file);
    }
    await observe(mount, operation, this.#recorder, this.#checker);
  }

  /** Locks of this application go with the first close of the file (fcntl(2)). */
  async #close(mount: Mount, { inode, handle }: HeldFile): Promise<void> {
    await this.#unlock(mount, inode, handle);
    await this.#recorder.perform(mount, { kind: "close", inode }, handle);
  }

  /** All that this application has. */
  async #unlock(mount: Mount, inode: number, handle?: Handle): Promise<void> {
    const owner = this.#workload.lockOwner;
    const isOwn = (lock: ModelLock) => lock.client === mount.name && lock.owner === owner;
    // Whether the session has ended, and the lock with it, may be open.
    if (!this.#checker.possibleModels.some((model) => model.numbered(inode)?.locks.some(isOwn))) return;
    const everything = { start: 0, end: Number.MAX_SAFE_INTEGER };
    await this.#recorder.perform(mount, { kind: "unlock", inode, owner, ...everything }, handle);
  }

  #think(): Promise<void> {
    return new Promise((resolve) => this.#scheduler.schedule(this.#random.below(this.#thinkUsMax), "think", resolve));
  }
}

function opens(operation: FileOperation): boolean {
  return (
    operation.kind === "open" || operation.kind === "createUnnamed" || (operation.kind === "create" && operation.open)
  );
}
