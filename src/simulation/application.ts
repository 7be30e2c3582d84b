/** One simulated application: does what the workload chooses, one operation after the other, on one of its mounts. */
import type { Handle } from "../client/file-system.ts";
import { observe } from "./audit.ts";
import type { LinearizabilityChecker } from "./checkers/linearizability.ts";
import type { FileOperation } from "./file-operation.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler } from "./scheduler.ts";
import { type Mount, MountDied, type SimulatedClient } from "./simulated-mount.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { OpenFile, Workload } from "./workload.ts";

/** Files that one application has open at most. */
const openFilesMax = 4;
/** Pauses between operations, mostly none: so that bursts and quiet moments happen. */
const thinkUsMax = 120_000;

interface HeldFile extends OpenFile {
  readonly handle: Handle;
}

export class Application {
  readonly #clients: readonly SimulatedClient[];
  readonly #recorder: Recorder;
  readonly #checker: LinearizabilityChecker;
  readonly #workload: Workload;
  readonly #scheduler: Scheduler;
  readonly #random: SimulatedRandom;
  /** Open files by mount. */
  readonly #open = new Map<string, HeldFile[]>();

  constructor(
    clients: readonly SimulatedClient[],
    parts: { recorder: Recorder; checker: LinearizabilityChecker; workload: Workload; scheduler: Scheduler },
    random: SimulatedRandom,
  ) {
    this.#clients = clients;
    this.#recorder = parts.recorder;
    this.#checker = parts.checker;
    this.#workload = parts.workload;
    this.#scheduler = parts.scheduler;
    this.#random = random;
  }

  /** Goes on until `enough`. Errors: Violation. */
  async work(enough: () => boolean): Promise<void> {
    while (!enough()) {
      const client = this.#random.pick(this.#clients);
      const mount = await client.mount();
      if (enough()) return;
      try {
        await this.#step(mount);
      } catch (error) {
        if (!(error instanceof MountDied)) throw error;
        this.#open.delete(mount.name);
        client.replace(mount);
      }
      if (this.#random.chance(0.3)) await this.#think();
    }
  }

  async #step(mount: Mount): Promise<void> {
    const open = this.#open.get(mount.name) ?? [];
    this.#open.set(mount.name, open);
    const choice = this.#workload.next(this.#checker.likelyModel, open, this.#recorder.nextId);
    const { operation, file } = choice;
    if (opens(operation) && open.length >= openFilesMax) {
      const oldest = open.shift()!;
      await this.#recorder.perform(mount, { kind: "close", inode: oldest.inode }, oldest.handle);
      return;
    }
    if (operation.kind === "close") open.splice(open.indexOf(file!), 1);
    const { outcome, handle, doubtful } = await this.#recorder.perform(mount, operation, file?.handle);
    if (doubtful) await observe(mount, operation, this.#recorder, this.#checker);
    if (handle === undefined) return;
    const inode = outcome.kind === "attributes" ? outcome.attributes.inode : handle.inode;
    open.push({ inode, append: operation.kind === "open" && operation.append, handle });
  }

  #think(): Promise<void> {
    return new Promise((resolve) => this.#scheduler.schedule(this.#random.below(thinkUsMax), "think", resolve));
  }
}

function opens(operation: FileOperation): boolean {
  return operation.kind === "open" || (operation.kind === "create" && operation.open);
}
