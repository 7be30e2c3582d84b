/** Performs file operations on mounts, keeps the history, and gives calls and returns to the checker as they happen. */
import type { Attributes, FileSystem, Handle } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import type { LinearizabilityChecker } from "./checkers/linearizability.ts";
import { Violation } from "./checkers/violation.ts";
import { describeOperation, describeOutcome, type FileOperation, type Outcome } from "./file-operation.ts";
import { owner } from "./model-operations.ts";
import type { Scheduler } from "./scheduler.ts";
import { type Mount, MountDied } from "./simulated-mount.ts";
import { taggedBytes } from "./tagged-data.ts";

/** Operations that the report of a failure shows. */
const historyMax = 400;

export interface Result {
  readonly outcome: Outcome;
  /** Of open and of a create that opens. */
  readonly handle: Handle | undefined;
  /** It failed, and nobody knows what it did before. */
  readonly doubtful: boolean;
}

type Done = Omit<Result, "doubtful">;

/** How an error that the model doesn't know may come about. fatal: the mount is of no use any more. */
export type Tolerance = "no" | "mayHaveHappened" | "fatal";

export class Recorder {
  readonly #scheduler: Scheduler;
  readonly #checker: LinearizabilityChecker;
  readonly #tolerance: (mount: Mount, errno: string, calledUs: number) => Tolerance;
  readonly #history: string[] = [];
  readonly #underWay = new Map<number, { mount: string; text: string; calledUs: number }>();
  #count = 0;

  constructor(
    scheduler: Scheduler,
    checker: LinearizabilityChecker,
    tolerance: (mount: Mount, errno: string, calledUs: number) => Tolerance,
  ) {
    this.#scheduler = scheduler;
    this.#checker = checker;
    this.#tolerance = tolerance;
  }

  get count(): number {
    return this.#count;
  }

  /** Number for the next operation: a write takes it as its tag. */
  get nextId(): number {
    return this.#count + 1;
  }

  /** The newest operations in the order of their ends, then those under way. */
  tail(): string[] {
    const waiting = [...this.#underWay].map(([id, { text, calledUs }]) =>
      line(id, calledUs, undefined, text, "under way"),
    );
    return [...this.#history, ...waiting];
  }

  /**
   * Performs an operation. `handle` is that of read and write, and of close.
   * Errors: Violation; MountDied, also when the mount turned out to be of no use.
   */
  async perform(mount: Mount, operation: FileOperation, handle?: Handle): Promise<Result> {
    this.#count += 1;
    const id = this.#count;
    const calledUs = this.#scheduler.nowUs;
    this.#underWay.set(id, { mount: mount.name, text: `${mount.name} ${describeOperation(operation)}`, calledUs });
    this.#checker.called(id, mount.name, operation);
    let result: Done;
    try {
      result = await Promise.race([run(mount.fileSystem, operation, handle), mount.death]);
    } catch (error) {
      if (error instanceof MountDied) {
        this.#ends(id, "never returns");
        this.#checker.abandon(id);
        throw error;
      }
      if (!(error instanceof FileError)) throw new Violation("errors are FileErrors", `${(error as Error).stack}`);
      result = { outcome: { kind: "failed", errno: error.code }, handle: undefined };
    }
    const { outcome } = result;
    const text = describeOutcome(outcome);
    this.#ends(id, text);
    this.#scheduler.note(`${id} ${text}`);
    if (outcome.kind === "failed") {
      return { ...result, doubtful: this.#judgeError(id, mount, outcome.errno, calledUs) };
    }
    const short = outcome.kind === "written" && operation.kind === "write" && outcome.length < operation.length;
    // write(2): where there is no space for all, what there is space for is written.
    if (short && this.#tolerance(mount, "ENOSPC", calledUs) !== "no") this.#checker.shortened(id, outcome.length);
    this.#checker.returned(id, outcome);
    return { ...result, doubtful: false };
  }

  /** True if the operation may have had an effect all the same. */
  #judgeError(id: number, mount: Mount, errno: string, calledUs: number): boolean {
    const tolerance = this.#tolerance(mount, errno, calledUs);
    if (tolerance === "no") this.#checker.returned(id, { kind: "failed", errno });
    else if (tolerance === "mayHaveHappened") this.#checker.failedSomehow(id);
    else {
      this.#checker.abandon(id);
      throw new MountDied(mount.name);
    }
    return tolerance !== "no";
  }

  #ends(id: number, outcome: string): void {
    const { text, calledUs } = this.#underWay.get(id)!;
    this.#underWay.delete(id);
    this.#history.push(line(id, calledUs, this.#scheduler.nowUs, text, outcome));
    if (this.#history.length > 2 * historyMax) this.#history.splice(0, historyMax);
  }
}

function line(id: number, calledUs: number, endedUs: number | undefined, text: string, outcome: string): string {
  const ms = (us: number | undefined) => (us === undefined ? "…" : (us / 1_000).toFixed(3));
  return `${String(id).padStart(5)} [${ms(calledUs)} – ${ms(endedUs)} ms] ${text} → ${outcome}`;
}

async function run(fileSystem: FileSystem, operation: FileOperation, handle: Handle | undefined): Promise<Done> {
  switch (operation.kind) {
    case "create":
      return create(fileSystem, operation);
    case "open":
      return { outcome: { kind: "done" }, handle: await fileSystem.open(operation.inode, operation) };
    default:
      return { outcome: await outcomeOf(fileSystem, operation, handle), handle: undefined };
  }
}

async function create(fileSystem: FileSystem, operation: Extract<FileOperation, { kind: "create" }>): Promise<Done> {
  const { parent, name, type, mode, target, open } = operation;
  const node = { type, mode, ...owner, ...(type === "symlink" && { target }) };
  if (!open) return { outcome: attributesOutcome(await fileSystem.create(parent, name, node)), handle: undefined };
  const { attributes, handle } = await fileSystem.createAndOpen(parent, name, node, {});
  return { outcome: attributesOutcome(attributes), handle };
}

function attributesOutcome(attributes: Attributes): Outcome {
  return { kind: "attributes", attributes };
}

async function outcomeOf(
  fileSystem: FileSystem,
  operation: Exclude<FileOperation, { kind: "create" | "open" }>,
  handle: Handle | undefined,
): Promise<Outcome> {
  switch (operation.kind) {
    case "lookup": {
      const attributes = await fileSystem.lookup(operation.parent, operation.name);
      return attributes === undefined ? { kind: "absent" } : attributesOutcome(attributes);
    }
    case "getAttributes":
      return attributesOutcome((await fileSystem.getAttributes(operation.inode)).attributes);
    case "setAttributes":
      return attributesOutcome(await fileSystem.setAttributes(operation.inode, operation.change));
    case "link":
      return attributesOutcome(await fileSystem.link(operation.inode, operation.parent, operation.name));
    case "readLink":
      return { kind: "target", target: await fileSystem.readLink(operation.inode) };
    case "read": {
      const buffers = await fileSystem.read(handle!, operation.offset, operation.length);
      return { kind: "data", bytes: Buffer.concat(buffers) };
    }
    case "readDirectory":
      return { kind: "entries", entries: await list(fileSystem, operation.inode) };
    case "write": {
      const data = taggedBytes(operation.tag, 0, operation.length);
      const length = await fileSystem.write(handle!, operation.offset ?? 0, data, { killPrivileges: false });
      data.fill(0); // it was the file system's only until the answer: nobody may use it later
      return { kind: "written", length };
    }
    default:
      await change(fileSystem, operation, handle);
      return { kind: "done" };
  }
}

/** Operations that give nothing back. */
async function change(
  fileSystem: FileSystem,
  operation: Extract<FileOperation, { kind: "unlink" | "removeDirectory" | "rename" | "close" | "sync" }>,
  handle: Handle | undefined,
): Promise<void> {
  switch (operation.kind) {
    case "unlink":
      return fileSystem.unlink(operation.parent, operation.name);
    case "removeDirectory":
      return fileSystem.removeDirectory(operation.parent, operation.name);
    case "rename": {
      const { parent, name, newParent, newName, noReplace } = operation;
      return fileSystem.rename(parent, name, newParent, newName, { noReplace });
    }
    case "close":
      return fileSystem.close(handle!);
    case "sync":
      return fileSystem.sync(operation.inode);
  }
}

/** All entries; the model's directories fit into one batch, so this is one moment. */
async function list(fileSystem: FileSystem, inode: number): Promise<{ name: string; inode: number }[]> {
  const handle = await fileSystem.open(inode, {});
  try {
    const entries = await fileSystem.readDirectory(handle, 0, 1_000, false);
    const last = entries.at(-1);
    if (last !== undefined && (await fileSystem.readDirectory(handle, last.cookie, 1, false)).length > 0) {
      return list(fileSystem, inode); // entries were added meanwhile
    }
    return entries.map(({ name, inode: entry }) => ({ name, inode: entry }));
  } finally {
    fileSystem.close(handle);
  }
}
