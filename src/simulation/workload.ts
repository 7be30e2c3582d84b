/**
 * Chooses what the applications do: random file operations on few directories, names and files, so that they meet. What
 * there is to work on is taken from a state that the checker holds possible.
 */
import type { FileOperation } from "./file-operation.ts";
import type { Model, ModelInode } from "./model.ts";
import type { AccessList } from "./model-access-lists.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import {
  type Abilities,
  emphases,
  emphasis,
  emphasisOnOverwrites,
  type Kind,
  kindsOf,
  seldom,
  type Weights,
  weights,
} from "./workload-kinds.ts";
import { lockedBytes, Ranges } from "./workload-ranges.ts";

const names = ["a", "b", "\xff\xfe", "c", "d", "e"] as const;
const extendedNames = ["user.x", "user.y"] as const;
/** Whoever reads all files of a directory reads so much of each. */
const readAllBytes = 64 * 1024;
/** What needs a place of its own in the file, which O_APPEND doesn't give. */
const needPlace: ReadonlySet<Kind> = new Set([
  ...(["write", "overwrite", "store", "load"] as const),
  ...(["punch", "zero", "reserve", "copy"] as const),
]);

/** How crowded it is: the fewer places there are, the more is fought for. */
export interface Crowd {
  readonly names: number;
  /** Above these the workload removes more than it makes. */
  readonly directoriesMax: number;
  readonly filesMax: number;
}

const crowds: readonly Crowd[] = [
  { names: 2, directoriesMax: 2, filesMax: 1 },
  { names: 2, directoriesMax: 2, filesMax: 2 },
  { names: 3, directoriesMax: 3, filesMax: 4 },
  { names: 3, directoriesMax: 3, filesMax: 6 },
  { names: 6, directoriesMax: 5, filesMax: 14 },
];

/** An open file of the worker that asks. */
export interface OpenFile {
  readonly inode: number;
  readonly append: boolean;
  /** The operation that opened it. */
  readonly openedBy: number;
}

/** What to do next, with which of the open files, and from which of them. */
export interface Choice<F extends OpenFile> {
  readonly operation: FileOperation;
  readonly file?: F;
  readonly source?: F;
  /** What is to follow on the same mount, as far as it knows the inodes. */
  readonly rest?: FileOperation[];
}

export class Workload {
  readonly #random: SimulatedRandom;
  readonly #ranges: Ranges;
  readonly #weights: Weights;
  readonly #crowd: Crowd;
  /** Who locks: unlike every other application's. */
  readonly lockOwner: number;

  /** `character` chooses what is done most, and how crowded it is: any whole number. */
  constructor(
    random: SimulatedRandom,
    options: {
      /** Writes up to 1 MiB happen with this probability; they are what takes time. */
      largeChance: number;
      character: number;
      lockOwner: number;
      abilities: Abilities;
      /** Done more often than everything else; default: as the character says. */
      more?: readonly Kind[] | undefined;
      /** Nothing else is done. */
      only?: Weights | undefined;
    },
  ) {
    const { largeChance, character, lockOwner, abilities } = options;
    this.#random = random;
    this.#ranges = new Ranges(random, largeChance);
    this.lockOwner = lockOwner;
    this.#crowd = crowds[character % crowds.length]!;
    const more = options.more ?? emphases[Math.floor(character / crowds.length) % emphases.length]!;
    const factor = more.includes("overwrite") ? emphasisOnOverwrites : emphasis;
    const unable = (Object.keys(kindsOf) as (keyof Abilities)[]).flatMap((one) => (abilities[one] ? [] : kindsOf[one]));
    const left = seldom.filter((kind) => !more.includes(kind));
    const kinds = Object.entries(weights).filter(([kind]) => !unable.includes(kind) && !left.includes(kind as Kind));
    const changed = kinds.map(([kind, weight]) => [kind, more.includes(kind as Kind) ? weight * factor : weight]);
    this.#weights = options.only ?? Object.fromEntries(changed);
  }

  /**
   * What to do next, and with which of the open files. `id` is the operation's number. Inodes that the mount hasn't heard of
   * are found by their names first.
   */
  next<F extends OpenFile>(
    model: Model,
    open: readonly F[],
    id: number,
    isKnown: (inode: number) => boolean,
  ): Choice<F> {
    const alive = [...model.inodes()].filter(({ gone, number }) => !gone && number !== undefined && isKnown(number));
    const directories = alive.filter(({ type, linkCount }) => type === "directory" && linkCount > 0);
    const files = alive.filter(({ type, linkCount }) => type === "file" && linkCount > 0);
    for (;;) {
      const kind = this.#kind(directories.length, files.length);
      if (kind === "changeAll") return this.#changeAll(this.#random.pick(directories), model);
      if (kind === "readAll") return this.#readAll(this.#random.pick(directories), model);
      const choice = this.#onOpenFile(kind, model, open, id, directories) ?? this.#onNames(kind, alive, directories);
      if (choice !== undefined) return choice;
      const operation = this.#onInode(kind, { alive, files, directories, root: model.inode(0).number!, id });
      if (operation !== undefined) return { operation };
    }
  }

  #kind(directories: number, files: number): Kind {
    const kind = this.#random.weighted(this.#weights as Record<Kind, number>);
    if (kind === "makeDirectory" && directories >= this.#crowd.directoriesMax) return "removeDirectory";
    if (kind === "createFile" && files >= this.#crowd.filesMax) return "unlink";
    return kind;
  }

  #onOpenFile<F extends OpenFile>(
    kind: Kind,
    model: Model,
    open: readonly F[],
    id: number,
    directories: readonly ModelInode[],
  ): Choice<F> | undefined {
    const isUnnamed = ({ inode }: F) => model.numbered(inode)?.unnamedBy !== undefined;
    const usable = open.filter((file) => {
      if (kind === "linkUnnamed") return isUnnamed(file);
      // Pages are written back at their own place, through any handle that maps them.
      return kind === "append" ? file.append : !(needPlace.has(kind) && file.append);
    });
    if (usable.length === 0) return undefined;
    const file = this.#random.pick(usable);
    const { inode } = file;
    const size = model.numbered(inode)?.size ?? 0;
    switch (kind) {
      case "close":
        return { operation: { kind, inode }, file };
      case "read":
        return { operation: { kind, inode, offset: this.#ranges.offset(size), length: this.#ranges.length() }, file };
      case "write":
        return {
          operation: { kind, inode, offset: this.#ranges.offset(size), length: this.#ranges.length(), tag: id },
          file,
        };
      case "overwrite":
        return { operation: { kind: "write", inode, ...this.#ranges.within(size), tag: id }, file };
      case "writeDurably": {
        const place = file.append ? undefined : this.#ranges.offset(size);
        const written = { offset: place, length: this.#ranges.length(), tag: id, durableBy: file.openedBy };
        return { operation: { kind: "write", inode, ...written }, file };
      }
      case "punch":
      case "zero":
      case "reserve": {
        const zero = kind !== "reserve";
        const range = zero ? this.#ranges.hole(model.numbered(inode)) : this.#ranges.reserved(size);
        // fallocate(2): a hole is punched without changing the size, the others may let the file grow.
        const grow = kind === "zero" ? this.#random.chance(0.6) : kind === "reserve";
        return range && { operation: { kind: "allocate", inode, ...range, zero, grow }, file };
      }
      case "copy": {
        const sources = open.filter((one) => one.inode !== inode);
        if (sources.length === 0) return undefined;
        const source = this.#random.pick(sources);
        const range = this.#ranges.copy(model.numbered(source.inode)?.size ?? 0, size);
        return range && { operation: { kind: "copyRange", inode, source: source.inode, ...range }, file, source };
      }
      case "linkUnnamed": {
        const directory = this.#random.pick(directories);
        return { operation: { kind: "link", inode, parent: directory.number!, name: this.#name(directory) } };
      }
      case "sync":
        return { operation: { kind, inode, handle: file.openedBy, scope: this.#random.pick(["all", "data"]) }, file };
      case "load":
      case "store": {
        if (size === 0) return undefined;
        const range = this.#ranges.inPage(size);
        return { operation: kind === "load" ? { kind, inode, ...range } : { kind, inode, ...range, tag: id }, file };
      }
      case "lock": {
        const mode = this.#random.chance(0.3) ? "shared" : "exclusive";
        // Who waits while others wait for him may wait for good.
        const holds = [...model.inodes()].some(({ locks }) => locks.some(({ owner }) => owner === this.lockOwner));
        const wait = !holds && this.#random.chance(0.3);
        return { operation: { kind, inode, owner: this.lockOwner, mode, ...this.#ranges.lockRange(), wait }, file };
      }
      case "unlock":
        return { operation: { kind, inode, owner: this.lockOwner, start: 0, end: lockedBytes }, file };
      case "append":
        return { operation: { kind: "write", inode, offset: undefined, length: this.#ranges.length(), tag: id }, file };
      default:
        return undefined;
    }
  }

  /** As chmod -R does it. */
  #changeAll({ number, entries }: ModelInode, model: Model): Choice<never> {
    const parent = number!;
    const mode = this.#random.pick([0o600, 0o640, 0o700]);
    const rest = [...entries].flatMap(([name, entry]): FileOperation[] => {
      const inode = model.inode(entry).number;
      const lookup = { kind: "lookup", parent, name } as const;
      return inode === undefined ? [lookup] : [lookup, { kind: "setAttributes", inode, change: { mode } }];
    });
    return { operation: { kind: "readDirectory", inode: parent }, rest };
  }

  /** As grep -r does it. */
  #readAll({ number, entries }: ModelInode, model: Model): Choice<never> {
    const rest = [...entries.values()].flatMap((entry): FileOperation[] => {
      const { number: inode, type } = model.inode(entry);
      if (inode === undefined || type !== "file") return [];
      const read = { kind: "read", inode, offset: 0, length: readAllBytes } as const;
      return [{ kind: "open", inode, truncate: false, append: false }, read, { kind: "close", inode }];
    });
    return { operation: { kind: "readDirectory", inode: number! }, rest };
  }

  #onNames(kind: Kind, alive: ModelInode[], directories: ModelInode[]): { operation: FileOperation } | undefined {
    const directory = this.#random.pick(directories);
    const parent = directory.number!;
    const name = this.#name(directory);
    const mode = this.#random.pick([0o600, 0o644, 0o755]);
    const made = { kind: "create", parent, name, mode, target: "", open: false } as const;
    switch (kind) {
      case "lookup":
      case "unlink":
      case "removeDirectory":
        return { operation: { kind, parent, name } };
      case "createFile":
        return { operation: { ...made, type: "file", open: this.#random.chance(0.6) } };
      case "makeDirectory":
        return { operation: { ...made, type: "directory" } };
      case "makeUnnamed":
        return { operation: { kind: "createUnnamed", parent, mode } };
      case "symlink":
        return { operation: { ...made, type: "symlink", mode: 0o777, target: `to/${name}` } };
      case "rename": {
        const target = this.#random.pick(directories);
        const newName = this.#name(target);
        const noReplace = this.#random.chance(0.2);
        return { operation: { kind, parent, name, newParent: target.number!, newName, noReplace } };
      }
      case "exchange": {
        const target = this.#random.pick(directories);
        return { operation: { kind, parent, name, newParent: target.number!, newName: this.#name(target) } };
      }
      case "link": {
        const linkable = alive.filter(({ type, linkCount }) => type !== "directory" && linkCount > 0);
        if (linkable.length === 0) return undefined;
        return { operation: { kind, inode: this.#random.pick(linkable).number!, parent, name } };
      }
      default:
        return undefined;
    }
  }

  #onInode(
    kind: Kind,
    there: { alive: ModelInode[]; files: ModelInode[]; directories: ModelInode[]; root: number; id: number },
  ): FileOperation | undefined {
    const { alive, files, directories, root, id } = there;
    const inode = this.#random.pick(alive).number!;
    const symlinks = alive.filter(({ type }) => type === "symlink");
    switch (kind) {
      case "getAttributes":
      case "listExtended":
        return { kind, inode };
      case "sync":
        return { kind, inode, handle: 0 };
      case "syncAll":
        return { kind: "sync", inode: root, handle: 0 };
      case "getExtended":
      case "removeExtended":
        return { kind, inode, name: this.#random.pick(extendedNames) };
      case "setExtended": {
        const mode = this.#random.pick(["set", "set", "create", "replace"] as const);
        return { kind, inode, name: this.#random.pick(extendedNames), mode, tag: id };
      }
      case "setAccessList":
      case "getAccessList":
      case "removeAccessList": {
        const { number, type } = this.#random.pick(alive);
        if (type === "symlink") return undefined;
        const which = type === "directory" ? this.#random.pick(["access", "default"] as const) : "access";
        if (kind === "getAccessList") return { kind, inode: number!, which };
        const list = kind === "setAccessList" ? this.#accessList() : undefined;
        return { kind: "setAccessList", inode: number!, which, list };
      }
      case "chmod":
        return { kind: "setAttributes", inode, change: { mode: this.#random.below(0o1000) } };
      case "chown":
        return { kind: "setAttributes", inode, change: { uid: this.#random.below(9), gid: this.#random.below(9) } };
      case "readDirectory":
        return { kind, inode: this.#random.pick(directories).number! };
      case "readLink":
        return symlinks.length === 0 ? undefined : { kind, inode: this.#random.pick(symlinks).number! };
      case "truncate": {
        if (files.length === 0) return undefined;
        const file = this.#random.pick(files);
        return { kind: "setAttributes", inode: file.number!, change: { size: this.#ranges.newSize(file) } };
      }
      case "open": {
        if (files.length === 0) return undefined;
        const append = this.#random.chance(0.3);
        return { kind, inode: this.#random.pick(files).number!, truncate: this.#random.chance(0.1), append };
      }
      default:
        return undefined;
    }
  }

  #accessList(): AccessList {
    return Array.from({ length: 5 }, () => this.#random.below(8)).join("");
  }

  /** Mostly a name that is there. */
  #name({ entries }: ModelInode): string {
    const there = [...entries.keys()];
    return there.length > 0 && this.#random.chance(0.6)
      ? this.#random.pick(there)
      : this.#random.pick(names.slice(0, this.#crowd.names));
  }
}
