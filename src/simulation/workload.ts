/**
 * Chooses what the applications do: random file operations on few directories, names and files, so that they meet. What
 * there is to work on is taken from a state that the checker holds possible.
 */
import type { FileOperation } from "./file-operation.ts";
import type { Model, ModelInode } from "./model.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

const names = ["a", "b", "\xff\xfe", "c", "d", "e"] as const;
const extendedNames = ["user.x", "user.y"] as const;
const pageBytes = 4096;
/** Bytes of a file that are locked: few, so that locks meet. */
const lockedBytes = 4;

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

/** What a simulation can do without, until all of it is there. */
export interface Abilities {
  readonly mapped: boolean;
  readonly locks: boolean;
  readonly extended: boolean;
}

/** What the client can do by now. */
export const abilities: Abilities = { mapped: true, locks: true, extended: true };

const kindsOf: Readonly<Record<keyof Abilities, readonly string[]>> = {
  mapped: ["load", "store"],
  locks: ["lock", "unlock"],
  extended: ["setExtended", "getExtended", "listExtended", "removeExtended"],
};
const chunkBytes = 4 * 1024 * 1024;

/** What is done, of so many. Reads and writes need an open file, so opening is frequent. */
const weights = {
  lookup: 8,
  getAttributes: 7,
  chmod: 3,
  chown: 2,
  truncate: 8,
  createFile: 10,
  makeDirectory: 4,
  symlink: 2,
  link: 4,
  unlink: 8,
  removeDirectory: 3,
  rename: 8,
  exchange: 2,
  readLink: 1,
  open: 10,
  close: 6,
  read: 18,
  write: 18,
  overwrite: 12,
  append: 6,
  sync: 3,
  syncAll: 1,
  readDirectory: 5,
  load: 4,
  store: 4,
  setExtended: 3,
  getExtended: 2,
  listExtended: 1,
  removeExtended: 1,
  lock: 3,
  unlock: 3,
} as const;

export type Kind = keyof typeof weights;
export const kinds = Object.keys(weights) as Kind[];

/** What some simulations do more of than of everything else. */
const emphases: readonly (readonly Kind[])[] = [
  [],
  ["read", "write", "append", "truncate"],
  ["createFile", "link", "unlink", "rename", "makeDirectory", "removeDirectory", "lookup", "readDirectory"],
  ["write", "read"],
  ["rename", "exchange", "makeDirectory", "createFile", "lookup"],
  ["append", "read", "open", "getAttributes"],
  ["store", "load", "read", "write"],
  ["setExtended", "getExtended", "chmod", "getAttributes"],
  ["lock", "unlock", "read", "write"],
  ["overwrite", "read"],
];
/** Done only where it is done more than others: elsewhere it would take the place of what everybody does. */
const seldom: readonly Kind[] = ["exchange"];
const emphasis = 5;
/** Of overwriting: whatever else is done to the file brings it back to one client. */
const emphasisOnOverwrites = 30;

/** An open file of the worker that asks. */
export interface OpenFile {
  readonly inode: number;
  readonly append: boolean;
  /** The operation that opened it. */
  readonly openedBy: number;
}

export class Workload {
  readonly #random: SimulatedRandom;
  /** Writes up to 1 MiB happen with this probability; they are what takes time. */
  readonly #largeChance: number;
  readonly #weights: Readonly<Record<Kind, number>>;
  readonly #crowd: Crowd;
  /** Who locks: unlike every other application's. */
  readonly lockOwner: number;

  /** `character` chooses what is done most, and how crowded it is: any whole number. */
  constructor(
    random: SimulatedRandom,
    options: {
      largeChance: number;
      character: number;
      lockOwner: number;
      abilities: Abilities;
      /** Done more often than everything else; default: as the character says. */
      more?: readonly Kind[] | undefined;
    },
  ) {
    const { largeChance, character, lockOwner, abilities } = options;
    this.#random = random;
    this.#largeChance = largeChance;
    this.lockOwner = lockOwner;
    this.#crowd = crowds[character % crowds.length]!;
    const more = options.more ?? emphases[Math.floor(character / crowds.length) % emphases.length]!;
    const factor = more.includes("overwrite") ? emphasisOnOverwrites : emphasis;
    const unable = (Object.keys(kindsOf) as (keyof Abilities)[]).flatMap((one) => (abilities[one] ? [] : kindsOf[one]));
    const left = seldom.filter((kind) => !more.includes(kind));
    const kinds = Object.entries(weights).filter(([kind]) => !unable.includes(kind) && !left.includes(kind as Kind));
    const changed = kinds.map(([kind, weight]) => [kind, more.includes(kind as Kind) ? weight * factor : weight]);
    this.#weights = Object.fromEntries(changed);
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
  ): { operation: FileOperation; file?: F } {
    const alive = [...model.inodes()].filter(({ gone, number }) => !gone && number !== undefined && isKnown(number));
    const directories = alive.filter(({ type, linkCount }) => type === "directory" && linkCount > 0);
    const files = alive.filter(({ type, linkCount }) => type === "file" && linkCount > 0);
    for (;;) {
      const kind = this.#kind(directories.length, files.length);
      const choice = this.#onOpenFile(kind, model, open, id) ?? this.#onNames(kind, alive, directories);
      if (choice !== undefined) return choice;
      const operation = this.#onInode(kind, { alive, files, directories, root: model.inode(0).number!, id });
      if (operation !== undefined) return { operation };
    }
  }

  #kind(directories: number, files: number): Kind {
    const kind = this.#random.weighted(this.#weights);
    if (kind === "makeDirectory" && directories >= this.#crowd.directoriesMax) return "removeDirectory";
    if (kind === "createFile" && files >= this.#crowd.filesMax) return "unlink";
    return kind;
  }

  #onOpenFile<F extends OpenFile>(
    kind: Kind,
    model: Model,
    open: readonly F[],
    id: number,
  ): { operation: FileOperation; file: F } | undefined {
    const usable = open.filter(({ append }) => {
      // Pages are written back at their own place, through any handle that maps them.
      const needsPlace = kind === "write" || kind === "overwrite" || kind === "store" || kind === "load";
      return kind === "append" ? append : !(needsPlace && append);
    });
    if (usable.length === 0) return undefined;
    const file = this.#random.pick(usable);
    const { inode } = file;
    const size = model.numbered(inode)?.size ?? 0;
    switch (kind) {
      case "close":
        return { operation: { kind, inode }, file };
      case "read":
        return { operation: { kind, inode, offset: this.#offset(size), length: this.#length() }, file };
      case "write":
        return { operation: { kind, inode, offset: this.#offset(size), length: this.#length(), tag: id }, file };
      case "overwrite":
        return { operation: { kind: "write", inode, ...this.#within(size), tag: id }, file };
      case "sync":
        return { operation: { kind, inode, handle: file.openedBy }, file };
      case "load":
      case "store": {
        if (size === 0) return undefined;
        const range = this.#inPage(size);
        return { operation: kind === "load" ? { kind, inode, ...range } : { kind, inode, ...range, tag: id }, file };
      }
      case "lock": {
        const mode = this.#random.chance(0.3) ? "shared" : "exclusive";
        // Who waits while others wait for him may wait for good.
        const holds = [...model.inodes()].some(({ locks }) => locks.some(({ owner }) => owner === this.lockOwner));
        const wait = !holds && this.#random.chance(0.3);
        return { operation: { kind, inode, owner: this.lockOwner, mode, ...this.#lockRange(), wait }, file };
      }
      case "unlock":
        return { operation: { kind, inode, owner: this.lockOwner, start: 0, end: lockedBytes }, file };
      case "append":
        return { operation: { kind: "write", inode, offset: undefined, length: this.#length(), tag: id }, file };
      default:
        return undefined;
    }
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
        return { kind: "setAttributes", inode: file.number!, change: { size: this.#newSize(file) } };
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

  /** Mostly a name that is there. */
  #name({ entries }: ModelInode): string {
    const there = [...entries.keys()];
    return there.length > 0 && this.#random.chance(0.6)
      ? this.#random.pick(there)
      : this.#random.pick(names.slice(0, this.#crowd.names));
  }

  /** Near the start, the end, the bounds of chunks, or anywhere in three chunks. */
  #offset(size: number): number {
    const near = (place: number) => Math.max(0, place + this.#random.between(-6_000, 6_000));
    switch (this.#random.weighted({ start: 5, end: 3, chunk: 2, anywhere: 1 })) {
      case "start":
        return this.#random.below(this.#random.pick([8, 64]) * 1024);
      case "end":
        return near(size);
      case "chunk":
        return near(chunkBytes * this.#random.between(1, 2));
      default:
        return this.#random.below(3 * chunkBytes);
    }
  }

  /** Before the end of the file, so that nobody else needs to know. A file that is small is made a large one. */
  #within(size: number): { offset: number; length: number } {
    const length = this.#length();
    if (size < 2 * chunkBytes) return { offset: 3 * chunkBytes - length, length };
    const offset = this.#random.chance(0.8) ? this.#offset(size) : chunkBytes * this.#random.below(3);
    return { offset: Math.min(offset, size - length), length };
  }

  /** Mostly in the middle of data, where a tail has to go; else anywhere. */
  #newSize({ pieces, size }: ModelInode): number {
    if (pieces.length === 0 || this.#random.chance(0.4)) return this.#offset(size);
    const { start, end } = this.#random.pick(pieces);
    return this.#random.between(start, end);
  }

  /** Bytes in one page, most of the time before the end of the file. */
  #inPage(size: number): { offset: number; length: number } {
    const offset = this.#random.below(Math.min(size, 4 * pageBytes));
    return { offset, length: this.#random.between(1, pageBytes - (offset % pageBytes)) };
  }

  #lockRange(): { start: number; end: number } {
    const start = this.#random.below(lockedBytes);
    return { start, end: this.#random.between(start, lockedBytes) };
  }

  #length(): number {
    if (this.#random.chance(this.#largeChance)) return this.#random.between(1, 1024 * 1024);
    switch (this.#random.weighted({ bytes: 5, more: 3, blocks: 2 })) {
      case "bytes":
        return this.#random.between(1, 5_000);
      case "more":
        return this.#random.between(1, 40_000);
      default:
        return 4096 * this.#random.between(1, 8);
    }
  }
}
