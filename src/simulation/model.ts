/**
 * The file system as it should be: an immutable state. Every change makes a new Model that shares what didn't change, so
 * that the checker can follow many possible histories at once.
 *
 * Inodes have keys of the model's own, because an operation may have to be taken as done before its inode number is known.
 * A number is bound to its inode by the first outcome that tells it.
 */
import { createHash } from "node:crypto";
import type { FileType } from "../client/file-system.ts";
import type { AccessList, ListKind } from "./model-access-lists.ts";
import type { Choices, Piece } from "./tagged-data.ts";

/** An advisory lock on the bytes [start, end]. */
export interface ModelLock {
  readonly client: string;
  readonly owner: number;
  readonly start: number;
  readonly end: number;
  readonly mode: "shared" | "exclusive";
}

export interface ModelInode {
  /** Number of the operation that made it; 0: the root. */
  readonly key: number;
  readonly number: number | undefined;
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly target: string;
  /** Of a directory: keys by name. */
  readonly entries: ReadonlyMap<string, number>;
  /** Of a directory: the one that it is in. */
  readonly parent: number;
  readonly size: number;
  readonly pieces: readonly Piece[];
  /** Indexes of the chunks that may be mapped: writes to them change bytes in place. */
  readonly mapped: ReadonlySet<number>;
  /** Extended attributes: which operation set each. */
  readonly extended: ReadonlyMap<string, number>;
  readonly lists: ReadonlyMap<ListKind, AccessList>;
  readonly locks: readonly ModelLock[];
  /** Open handles by client. */
  readonly holds: ReadonlyMap<string, number>;
  /** The client that has made it without a name (O_TMPFILE), until it gets one: that client's handle holds it, come what may. */
  readonly unnamedBy: string | undefined;
  /** It has neither names nor handles: it may be there still or not, and answers what it will. */
  readonly gone: boolean;
}

const noEntries: ReadonlyMap<string, number> = new Map();

export class Model {
  readonly #inodes: ReadonlyMap<number, ModelInode>;
  readonly #keys: ReadonlyMap<number, number>;
  readonly choices: Choices;
  /** Two 32-bit hashes of the state, as one text: equal states have equal ones. */
  readonly fingerprint: string;

  static withRoot(number: number, mode: number, uid: number, gid: number): Model {
    const root = newInode(0, { type: "directory", mode, uid, gid, target: "", parent: 0 });
    return new Model(new Map(), new Map(), new Map()).with({ ...root, number });
  }

  private constructor(
    inodes: ReadonlyMap<number, ModelInode>,
    keys: ReadonlyMap<number, number>,
    choices: Choices,
    fingerprint = "0,0",
  ) {
    this.#inodes = inodes;
    this.#keys = keys;
    this.choices = choices;
    this.fingerprint = fingerprint;
  }

  /** The inode with this key; it must be there. */
  inode(key: number): ModelInode {
    const inode = this.#inodes.get(key);
    if (inode === undefined) throw new Error(`no inode with key ${key}`);
    return inode;
  }

  /** The inode with this number, if any outcome has told of it. */
  numbered(number: number): ModelInode | undefined {
    const key = this.#keys.get(number);
    return key === undefined ? undefined : this.inode(key);
  }

  inodes(): Iterable<ModelInode> {
    return this.#inodes.values();
  }

  has(key: number): boolean {
    return this.#inodes.has(key);
  }

  /** Knows of its inodes what the other knows: their numbers, and which torn writes are there. */
  withKnowledgeOf(other: Model): Model {
    const unnumbered = [...this.#inodes.values()].filter(({ number }) => number === undefined);
    const told = unnumbered.flatMap((inode) => {
      const number = other.has(inode.key) ? other.inode(inode.key).number : undefined;
      return number === undefined ? [] : [{ ...inode, number }];
    });
    return (told.length === 0 ? this : this.with(...told)).withChoices(other.choices);
  }

  /** With these inodes new or changed. */
  with(...changed: ModelInode[]): Model {
    const inodes = new Map(this.#inodes);
    let keys = this.#keys;
    let [left, right] = this.fingerprint.split(",").map(Number) as [number, number];
    for (const inode of changed) {
      const before = inodes.get(inode.key);
      for (const one of before === undefined ? [inode] : [before, inode]) {
        const [first, second] = hashes(one);
        left = (left ^ first) >>> 0;
        right = (right ^ second) >>> 0;
      }
      inodes.set(inode.key, inode);
      if (inode.number !== undefined && !keys.has(inode.number)) keys = new Map([...keys, [inode.number, inode.key]]);
    }
    return new Model(inodes, keys, this.choices, `${left},${right}`);
  }

  withChoices(choices: Choices): Model {
    return choices === this.choices ? this : new Model(this.#inodes, this.#keys, choices, this.fingerprint);
  }

  /**
   * Knows that the inode with this key has this number. Undefined if that cannot be: it has another one, or the number
   * belongs to another inode (numbers are never used twice).
   */
  bound(key: number, number: number): Model | undefined {
    const inode = this.inode(key);
    if (inode.number !== undefined) return inode.number === number ? this : undefined;
    if (this.#keys.has(number)) return undefined;
    return this.with({ ...inode, number });
  }
}

export function newInode(
  key: number,
  given: { type: FileType; mode: number; uid: number; gid: number; target: string; parent: number },
): ModelInode {
  return {
    key,
    number: undefined,
    ...given,
    linkCount: given.type === "directory" ? 2 : 1,
    entries: noEntries,
    size: given.target.length,
    pieces: [],
    mapped: new Set(),
    extended: new Map(),
    lists: new Map(),
    locks: [],
    holds: new Map(),
    unnamedBy: undefined,
    gone: false,
  };
}

const hashesOf = new WeakMap<ModelInode, readonly [number, number]>();

/** Two independent hashes of everything that can ever be seen of an inode. */
function hashes(inode: ModelInode): readonly [number, number] {
  let known = hashesOf.get(inode);
  if (known === undefined) {
    // Of what is gone nothing can be told from what else is gone. The order of entries is not seen.
    const seen = inode.gone
      ? [inode.key, inode.number, "gone"]
      : [
          {
            ...inode,
            entries: [...inode.entries].sort(),
            holds: [...inode.holds].sort(),
            mapped: [...inode.mapped].sort(),
            extended: [...inode.extended].sort(),
            lists: [...inode.lists].sort(),
            locks: inode.locks.map((lock) => JSON.stringify(lock)).sort(),
          },
        ];
    const hash = createHash("sha1").update(JSON.stringify(seen)).digest();
    known = [hash.readUInt32LE(0), hash.readUInt32LE(4)];
    hashesOf.set(inode, known);
  }
  return known;
}
