/**
 * Which operations can be told apart by their order: what each touches in a state of the model, and how.
 *
 * Two operations that only read a thing, or that only add to or take from it (entries of a directory, counted), commute.
 */
import type { Model } from "../model.ts";
import type { Invocation } from "../model-operations.ts";

type Access = "read" | "write" | "count";
export type Footprint = ReadonlyMap<string, Access>;

/** Something that may take effect: an operation under way, or the end of a session. */
export interface Candidate {
  readonly id: number;
  readonly footprint: Footprint;
}

/**
 * Those of the candidates that can matter to `target`, which is the first: the ones in conflict with it, with those, and so
 * on. All others can take effect after it just as well.
 */
export function relevant<C extends Candidate>(target: C, candidates: readonly C[]): C[] {
  const found = [target];
  let waiting = candidates.filter(({ id }) => id !== target.id);
  for (let index = 0; index < found.length; index++) {
    const { footprint: print } = found[index]!;
    found.push(...waiting.filter((candidate) => conflict(print, candidate.footprint)));
    waiting = waiting.filter((candidate) => !conflict(print, candidate.footprint));
  }
  return found;
}

export function conflict(left: Footprint, right: Footprint): boolean {
  for (const [thing, access] of left) {
    const other = right.get(thing);
    if (other !== undefined && (other !== access || access === "write")) return true;
  }
  return false;
}

/**
 * What an operation needs that the end of another client's session can give or take: leases, and its own session.
 * Inodes by their keys.
 */
export function withLeases(print: Footprint, client: string, inodes: Iterable<number>): Footprint {
  const things = new Map(print);
  things.set(`session ${client}`, "read");
  for (const inode of inodes) things.set(`lease ${inode}`, "read");
  return things;
}

/** The end of a session, with unsynced changes on these inodes. */
export function endFootprint(model: Model, client: string, changed: Iterable<number>): Footprint {
  const things = new Map<string, Access>([[`session ${client}`, "write"]]);
  for (const inode of changed) things.set(`lease ${inode}`, "write").set(`inode ${inode}`, "write");
  for (const { key, locks } of model.inodes()) {
    if (locks.some((lock) => lock.client === client)) things.set(`locks ${key}`, "write");
  }
  return things;
}

class Collected {
  readonly things = new Map<string, Access>();
  readonly #model: Model;

  constructor(model: Model) {
    this.#model = model;
  }

  add(thing: string, access: Access): void {
    const known = this.things.get(thing);
    this.things.set(thing, known === undefined || known === access ? access : "write");
  }

  inode(number: number, access: Access): void {
    const inode = this.#model.numbered(number);
    if (inode === undefined) return;
    this.add(`inode ${inode.key}`, access);
    // A directory shows how many entries it has.
    if (inode.type === "directory") this.add(`entries ${inode.key}`, "read");
  }

  /** A name, and what it stands for now. */
  name(parent: number, name: string, access: "read" | "write"): void {
    const directory = this.#model.numbered(parent);
    if (directory === undefined) return;
    this.add(`inode ${directory.key}`, "read");
    this.add(`name ${directory.key}/${name}`, access);
    if (access === "write") this.add(`entries ${directory.key}`, "count");
    const key = directory.entries.get(name);
    if (key === undefined) return;
    const inode = this.#model.inode(key);
    this.add(`inode ${key}`, access);
    if (inode.type !== "directory") return;
    this.add(`entries ${key}`, "read");
    // Moving or removing a directory: its place in the tree matters to others that move.
    if (access === "write") this.add("tree", "write");
  }
}

export function footprint(model: Model, { id, operation }: Invocation): Footprint {
  const collected = new Collected(model);
  switch (operation.kind) {
    case "lookup":
      collected.name(operation.parent, operation.name, "read");
      break;
    case "create":
      collected.add(`inode ${id}`, "write");
      collected.name(operation.parent, operation.name, "write");
      break;
    case "createUnnamed": {
      const directory = model.numbered(operation.parent);
      if (directory !== undefined) collected.add(`inode ${directory.key}`, "read");
      collected.add(`inode ${id}`, "write");
      break;
    }
    case "copyRange":
      collected.inode(operation.source, "read");
      collected.inode(operation.inode, "write");
      break;
    case "unlink":
    case "removeDirectory":
      collected.name(operation.parent, operation.name, "write");
      break;
    case "link":
      collected.name(operation.parent, operation.name, "write");
      collected.inode(operation.inode, "write");
      break;
    case "rename":
    case "exchange":
      collected.name(operation.parent, operation.name, "write");
      collected.name(operation.newParent, operation.newName, "write");
      break;
    case "lock":
    case "unlock":
      collected.add(`locks ${model.numbered(operation.inode)?.key}`, "write");
      collected.inode(operation.inode, "read");
      break;
    case "getAttributes":
    case "read":
    case "load":
    case "readLink":
    case "sync":
    case "readDirectory":
    case "getExtended":
    case "getAccessList":
    case "listExtended":
      collected.inode(operation.inode, "read");
      break;
    default:
      collected.inode(operation.inode, "write");
  }
  return collected.things;
}
