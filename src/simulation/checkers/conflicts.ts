/**
 * Which operations can be told apart by their order: what each touches in a state of the model, and how.
 *
 * Two operations that only read a thing, or that only add to or take from it (entries of a directory, counted), commute.
 */
import type { Model } from "../model.ts";
import type { Invocation } from "../model-operations.ts";

type Access = "read" | "write" | "count";
type Footprint = ReadonlyMap<string, Access>;

/**
 * Those of the operations under way that can matter to `target`: the ones in conflict with it, with those, and so on. All
 * others can take effect after it just as well.
 */
export function relevant(model: Model, target: Invocation, underWay: readonly Invocation[]): Invocation[] {
  const found = [target];
  const prints = [footprint(model, target)];
  let waiting = underWay.filter(({ id }) => id !== target.id).map((one) => ({ one, print: footprint(model, one) }));
  for (let index = 0; index < prints.length; index++) {
    const rest = [];
    for (const candidate of waiting) {
      if (!conflict(prints[index]!, candidate.print)) {
        rest.push(candidate);
        continue;
      }
      found.push(candidate.one);
      prints.push(candidate.print);
    }
    waiting = rest;
  }
  return found;
}

function conflict(left: Footprint, right: Footprint): boolean {
  for (const [thing, access] of left) {
    const other = right.get(thing);
    if (other !== undefined && (other !== access || access === "write")) return true;
  }
  return false;
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

function footprint(model: Model, { operation }: Invocation): Footprint {
  const collected = new Collected(model);
  switch (operation.kind) {
    case "lookup":
      collected.name(operation.parent, operation.name, "read");
      break;
    case "create":
    case "unlink":
    case "removeDirectory":
      collected.name(operation.parent, operation.name, "write");
      break;
    case "link":
      collected.name(operation.parent, operation.name, "write");
      collected.inode(operation.inode, "write");
      break;
    case "rename":
      collected.name(operation.parent, operation.name, "write");
      collected.name(operation.newParent, operation.newName, "write");
      break;
    case "getAttributes":
    case "read":
    case "readLink":
    case "sync":
    case "readDirectory":
      collected.inode(operation.inode, "read");
      break;
    default:
      collected.inode(operation.inode, "write");
  }
  return collected.things;
}
