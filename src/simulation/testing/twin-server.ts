/**
 * A write-back file system in memory that follows the model, for tests of the checker: leases on inodes, recalls, journals of
 * which a death leaves a prefix. It can be made wrong in the ways that the checker must find (`TwinBug`).
 */
import type { Attributes, FileSystem } from "../../client/file-system.ts";
import { changedInodes, isDecidedByLeader, leasedInodes } from "../checkers/touched.ts";
import type { FileOperation, Outcome } from "../file-operation.ts";
import { Model, type ModelInode } from "../model.ts";
import { copiedPieces, executeTorn } from "../model-data.ts";
import { dropHolds, dropLocks, dropUnnamed, execute, type Invocation, owner } from "../model-operations.ts";
import type { Prediction } from "../model-prediction.ts";
import type { Scheduler } from "../scheduler.ts";
import type { SimulatedRandom } from "../simulated-random.ts";
import { within } from "../tagged-data.ts";
import { earlyOverwrite } from "./early-overwrite.ts";
import { TwinMount } from "./twin-mount.ts";

export const twinBugs = [
  "recall without a flush",
  "write after fencing",
  "resent rename applied twice",
  "fsync answered early",
  "attributes kept after a recall",
  "names kept after a recall",
  "pages kept after a recall",
  "journal out of order",
  "metadata before data",
  "append at the kernel's offset",
  "freed while open",
  "torn inside a block",
  "lost update of a page",
  "overwrite before the move of a directory above it",
] as const;
export type TwinBug = (typeof twinBugs)[number];

interface Entry {
  readonly mount: string;
  readonly invocation: Invocation;
  readonly changed: ReadonlySet<number>;
}

const rootNumber = 1;
/** So often a planted bug strikes where it can. */
const bugChance = 0.3;
const messageUsMax = 300;

export class TwinServer {
  readonly scheduler: Scheduler;
  readonly random: SimulatedRandom;
  readonly bug: TwinBug | undefined;
  /** Everything that was answered. */
  #model = Model.withRoot(rootNumber, 0o755, owner.uid, owner.gid);
  /** What is durable, and on top of it what isn't, in order. */
  #base = this.#model;
  #log: Entry[] = [];
  readonly #mounts = new Map<string, TwinMount>();
  /** By inode's key: mounts that have the lease; the lone one of an exclusive lease is in `#exclusive`. */
  readonly #holders = new Map<number, Set<string>>();
  readonly #exclusive = new Map<number, string>();
  readonly #busy = new Set<number>();
  /** Data of writes and values of attributes, by tag. */
  readonly #bytes: Uint8Array[] = [];
  /** Tags of values by the operations that set them. */
  readonly #values = new Map<number, number>();
  #count = 0;
  struck = 0;

  constructor(scheduler: Scheduler, random: SimulatedRandom, bug?: TwinBug) {
    this.scheduler = scheduler;
    this.random = random;
    this.bug = bug;
  }

  /** Keeps bytes; the model knows them by their tag. */
  keep(bytes: Uint8Array): number {
    this.#bytes.push(Buffer.from(bytes));
    return this.#bytes.length - 1;
  }

  kept(tag: number): Uint8Array {
    return this.#bytes[tag]!;
  }

  get root(): number {
    return rootNumber;
  }

  mount(name: string): FileSystem {
    const mount = new TwinMount(this, name);
    this.#mounts.set(name, mount);
    return mount;
  }

  /** True if the bug is planted and strikes now. */
  strikes(bug: TwinBug, chance = bugChance): boolean {
    if (this.bug !== bug || !this.random.chance(chance)) return false;
    this.struck += 1;
    return true;
  }

  holds(mount: string, number: number, mode: "shared" | "exclusive"): boolean {
    const key = this.#model.numbered(number)?.key;
    if (key === undefined) return false;
    return mode === "shared" ? (this.#holders.get(key)?.has(mount) ?? false) : this.#exclusive.get(key) === mount;
  }

  sizeOf(number: number): number {
    return this.#model.numbered(number)?.size ?? 0;
  }

  isGone(number: number): boolean {
    return this.#model.numbered(number)?.gone ?? true;
  }

  /** Executes an operation as soon as its leases are there. */
  async perform(mount: string, operation: FileOperation): Promise<Outcome> {
    for (;;) {
      await this.#delay();
      if (!this.#mounts.has(mount)) return new Promise(() => {});
      if (!isKnown(this.#model, operation)) return { kind: "failed", errno: "ESTALE" };
      const needed = this.#needed(operation);
      if (await this.#lease(mount, needed)) return this.#execute(mount, operation);
    }
  }

  /** Makes what the mount did to the inode (undefined: to all) durable, and with it all that it did before. */
  async sync(mount: string, number: number | undefined): Promise<void> {
    const key = number === undefined ? undefined : this.#model.numbered(number)?.key;
    if (this.strikes("fsync answered early", 1)) return;
    await this.#delay();
    this.#commit(mount, key);
  }

  /** The mount is gone; what it had not made durable is lost, but for a prefix. */
  died(mount: string): void {
    const own = this.#log.filter((entry) => entry.mount === mount);
    const kept = new Set(own.slice(0, this.random.below(own.length + 1)));
    if (this.strikes("journal out of order", 1))
      for (const entry of own) if (this.random.chance(0.5)) kept.delete(entry);
    let base = this.#base;
    let isWhole = true;
    for (const entry of this.#log) {
      if (entry.mount !== mount || kept.has(entry)) {
        base = this.#replayed(base, entry.invocation);
      } else if (isWhole) {
        isWhole = false;
        base = this.#part(base, entry.invocation);
      }
    }
    const lost = own.filter((entry) => !kept.has(entry)).map(({ invocation }) => invocation);
    const early = earlyOverwrite(base, lost);
    if (early !== undefined && this.strikes("overwrite before the move of a directory above it", 1))
      base = this.#replayed(base, early);
    this.#model = this.#base = dropUnnamed(dropLocks(dropHolds(base, mount), mount), mount);
    this.#log = [];
    for (const holders of this.#holders.values()) holders.delete(mount);
    for (const [key, holder] of this.#exclusive) if (holder === mount) this.#exclusive.delete(key);
    this.#mounts.get(mount)?.die();
    this.#mounts.delete(mount);
    if (this.strikes("write after fencing", 1)) this.#writeLate(own.filter((entry) => !kept.has(entry)));
  }

  /** What is left of the first entry that is lost. */
  #part(base: Model, invocation: Invocation): Model {
    const { operation } = invocation;
    const number = "inode" in operation ? operation.inode : 0;
    const inode = base.numbered(number);
    if (operation.kind !== "write" || inode === undefined) return base;
    if (this.strikes("metadata before data", 1)) {
      const end = (operation.offset ?? inode.size) + operation.length;
      return base.with({ ...inode, size: Math.max(end, inode.size) });
    }
    if (this.strikes("torn inside a block", 1)) {
      const half = { ...operation, length: Math.ceil(operation.length / 2) };
      return this.#replayed(base, { ...invocation, operation: half });
    }
    const write = { chain: `twin ${invocation.id}`, calledAt: 0, returnedAt: undefined, isOrdered: true };
    const torn = executeTorn(base, invocation, write);
    return torn === undefined ? base : decided(torn, this.random);
  }

  #writeLate(lost: Entry[]): void {
    const late = lost.findLast(({ invocation }) => invocation.operation.kind === "write");
    if (late === undefined) return;
    this.scheduler.schedule(50_000, "late write", () => {
      for (const state of ["model", "base"] as const) {
        const model = state === "model" ? this.#model : this.#base;
        const after = this.#replayed(model, late.invocation);
        if (state === "model") this.#model = after;
        else this.#base = after;
      }
    });
  }

  /** Inodes, with the mode of the lease. */
  #needed(operation: FileOperation): Map<number, "shared" | "exclusive"> {
    const invocation = { id: this.#count + 1, client: "", operation };
    const needed = new Map<number, "shared" | "exclusive">();
    for (const key of leasedInodes(this.#model, invocation, { kind: "done" })) needed.set(key, "shared");
    for (const key of changedInodes(this.#model, invocation)) needed.set(key, "exclusive");
    // What is read may be for mapped memory, and come back changed: that must not have to wait for another lease.
    if (operation.kind === "read") needed.set(this.#model.numbered(operation.inode)!.key, "exclusive");
    if (operation.kind === "open" && !operation.truncate)
      needed.set(this.#model.numbered(operation.inode)!.key, "shared");
    if (operation.kind === "lookup") {
      const child = this.#model.numbered(operation.parent)?.entries.get(operation.name);
      if (child !== undefined) needed.set(child, "shared");
    }
    needed.delete(this.#count + 1);
    return needed;
  }

  /** True if all leases are there at this moment; else some were fetched. */
  async #lease(mount: string, needed: ReadonlyMap<number, "shared" | "exclusive">): Promise<boolean> {
    for (const [key, mode] of needed) {
      const holders = this.#holders.get(key) ?? new Set<string>();
      this.#holders.set(key, holders);
      const inTheWay = [...holders].filter(
        (other) => other !== mount && (mode === "exclusive" || this.#exclusive.get(key) === other),
      );
      if (inTheWay.length === 0 && (mode === "shared" || this.#exclusive.get(key) === mount) && holders.has(mount))
        continue;
      if (this.#busy.has(key)) return false;
      this.#busy.add(key);
      for (const other of inTheWay) await this.#recall(other, key);
      this.#busy.delete(key);
      if (!this.#mounts.has(mount)) return new Promise(() => {});
      holders.add(mount);
      if (mode === "exclusive") this.#exclusive.set(key, mount);
      return false;
    }
    return true;
  }

  async #recall(mount: string, key: number): Promise<void> {
    const holder = this.#mounts.get(mount);
    const caches = holder?.caches;
    const { number, type } = this.#model.inode(key);
    await this.#delay();
    if (caches !== undefined && number !== undefined) {
      if (type === "file" && !this.strikes("pages kept after a recall", 1))
        await Promise.race([caches.forgetPages(number), holder!.death]);
      if (!this.strikes("recall without a flush")) this.#commit(mount, key);
      if (type === "directory" && !this.strikes("names kept after a recall")) caches.forgetNames();
      if (!this.strikes("attributes kept after a recall")) caches.forgetAttributes(number);
    }
    this.#holders.get(key)?.delete(mount);
    if (this.#exclusive.get(key) === mount) this.#exclusive.delete(key);
  }

  #execute(mount: string, operation: FileOperation): Outcome {
    this.#count += 1;
    const before = this.#model;
    const invocation = { id: this.#count, client: mount, operation: copyingNow(before, this.#twisted(operation)) };
    if (operation.kind === "setExtended") this.#values.set(this.#count, operation.tag);
    const { model, prediction } = execute(before, invocation);
    this.#model = this.#numbered(model);
    if (model !== before) {
      const changed = changedInodes(before, invocation);
      if ("inode" in operation) changed.add(before.numbered(operation.inode)!.key);
      this.#log.push({ mount, invocation, changed });
      if (isDecidedByLeader(before, invocation)) this.#commit(mount, undefined);
      if (operation.kind === "create" || operation.kind === "createUnnamed") {
        this.#exclusive.set(this.#count, mount);
        this.#holders.set(this.#count, new Set([mount]));
      }
    }
    if (operation.kind === "rename" && prediction.kind === "done") this.#again(invocation);
    if (operation.kind === "unlink" && prediction.kind === "done") this.#free(before, operation);
    return prediction.kind === "target" && operation.kind === "getAccessList" ? prediction : this.#outcome(prediction);
  }

  #twisted(operation: FileOperation): FileOperation {
    const changes = operation.kind === "write" && operation.offset !== undefined;
    if (!changes || !this.strikes("lost update of a page", 0.1)) return operation;
    // The page as it was read some time ago comes back with the bytes that are written.
    return { ...operation, length: Math.max(1, operation.length - 7) };
  }

  #again(invocation: Invocation): void {
    if (!this.strikes("resent rename applied twice")) return;
    this.scheduler.schedule(20_000, "rename again", () => {
      this.#model = execute(this.#model, invocation).model;
      this.#base = this.#model;
      this.#log = [];
    });
  }

  #free(before: Model, { parent, name }: Extract<FileOperation, { kind: "unlink" }>): void {
    const key = before.numbered(parent)!.entries.get(name)!;
    const inode = this.#model.inode(key);
    if (inode.linkCount > 0 || inode.holds.size === 0 || !this.strikes("freed while open", 1)) return;
    this.#model = this.#model.with({ ...inode, pieces: [], size: 0 });
  }

  #commit(mount: string, key: number | undefined): void {
    const last = this.#log.findLastIndex(
      (entry) => entry.mount === mount && (key === undefined || entry.changed.has(key)),
    );
    const left: Entry[] = [];
    for (const [index, entry] of this.#log.entries()) {
      if (entry.mount === mount && index <= last) this.#base = this.#replayed(this.#base, entry.invocation);
      else left.push(entry);
    }
    this.#log = left;
  }

  #replayed(model: Model, invocation: Invocation): Model {
    // What it was about was lost: only a planted bug does that.
    if (!isKnown(model, invocation.operation)) return model;
    return this.#numbered(execute(model, invocation).model);
  }

  #numbered(model: Model): Model {
    const fresh = [...model.inodes()].filter(({ number }) => number === undefined);
    return fresh.reduce((after: Model, { key }) => after.bound(key, rootNumber + key)!, model);
  }

  #outcome(prediction: Prediction): Outcome {
    switch (prediction.kind) {
      case "any":
        return { kind: "failed", errno: "ESTALE" };
      case "failed":
        return { kind: "failed", errno: prediction.errnos[0] ?? "EAGAIN" };
      case "attributes":
        return { kind: "attributes", attributes: attributesOf(prediction.inode, prediction.subdirectories) };
      case "data": {
        const bytes = Buffer.alloc(prediction.length);
        for (const { start, end, source } of within(
          prediction.pieces,
          prediction.offset,
          prediction.offset + prediction.length,
        )) {
          if (source === undefined || !("tag" in source)) continue;
          bytes.set(this.kept(source.tag).subarray(start - source.base, end - source.base), start - prediction.offset);
        }
        return { kind: "data", bytes };
      }
      case "entries": {
        const entries = [...prediction.entries].map(([name, { key }]) => ({ name, inode: rootNumber + key }));
        return { kind: "entries", entries };
      }
      case "target": {
        const tag = this.#values.get(Number(prediction.target));
        return tag === undefined ? prediction : { kind: "target", target: `${tag}` };
      }
      default:
        return prediction;
    }
  }

  #delay(): Promise<void> {
    return new Promise((resolve) => this.scheduler.schedule(this.random.below(messageUsMax), "twin", resolve));
  }
}

/** What is copied is what is there now, also when it is done again. */
function copyingNow(model: Model, operation: FileOperation): FileOperation {
  return operation.kind === "copyRange" ? { ...operation, copied: copiedPieces(model, operation) } : operation;
}

/** False for what was lost with a mount. */
function isKnown(model: Model, operation: FileOperation): boolean {
  const { inode, parent, newParent, source } = operation as {
    readonly [name in "inode" | "parent" | "newParent" | "source"]?: number;
  };
  const given = [inode, parent, newParent, source].filter((number) => number !== undefined);
  return given.every((number) => model.numbered(number) !== undefined);
}

function attributesOf(inode: ModelInode, subdirectories: number): Attributes {
  const directory = inode.type === "directory";
  const { type, mode, uid, gid } = inode;
  return {
    ...{ inode: rootNumber + inode.key, type, mode, uid, gid, chunkCount: 0, hasHoles: false, device: 0 },
    linkCount: directory ? 2 + subdirectories : inode.linkCount,
    size: directory ? inode.entries.size * 32 : inode.size,
    ...{ atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n, btimeNs: 0n },
  };
}

/** With every torn block there or not. */
function decided(model: Model, random: SimulatedRandom): Model {
  const changed = [...model.inodes()].map((inode) => ({
    ...inode,
    pieces: inode.pieces.flatMap((piece) => {
      const { source } = piece;
      if (source === undefined || !("choice" in source)) return [piece];
      const chosen = random.fork(source.choice).chance(0.5) ? source.after : source.before;
      return chosen === undefined ? [] : [{ ...piece, source: chosen }];
    }),
  }));
  return model.with(...changed);
}
