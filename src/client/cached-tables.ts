/**
 * The namespace's tables as one client has them: what it caches under its leases. The namespace's own operations run over
 * them, so client and leader come to the same result by the same code.
 *
 * What an operation reads it changes, or decides by: so everything it touches has to be under the exclusive lease (but for
 * the time of last access: see access-times.ts). What isn't, or isn't known, ends the attempt with Missing (access.ts). Operations check everything before they change
 * anything, so an attempt that ends like that has changed nothing; it is asserted.
 */
import type { FileContext, FileTables } from "../namespace/context.ts";
import type { EntryRecord, InodeRecord, Mapping } from "../namespace/model.ts";
import type { Account, Amount } from "../namespace/usage.ts";
import type { Access } from "./access.ts";
import type { FileContent } from "./content/file-content.ts";
import type { Leases } from "./leases.ts";
import type { Node } from "./node.ts";
import type { Charge, QuotaGrants } from "./quota-grants.ts";

export interface CachedTablesParts {
  readonly leases: Leases;
  readonly volume: number;
  readonly root: number;
  /** The content of a file, made when it is first needed. */
  readonly contentOf: (node: Node) => FileContent;
  readonly quotas: QuotaGrants;
  /** A node that was just made gets what a node has. */
  readonly made: (node: Node) => void;
}

/** Any number will do: they were granted, and each is taken once (ids.ts). */
const takenNumbers = { has: () => true, use: () => {} };

export class CachedTables {
  readonly #parts: CachedTablesParts;
  #access: Access | undefined;
  #mode: "shared" | "exclusive" = "exclusive";
  #changed: Node[] = [];
  readonly #tables: FileTables;

  constructor(parts: CachedTablesParts) {
    this.#parts = parts;
    this.#tables = {
      inodes: {
        get: (_volume, inode) => this.#node(inode).record,
        put: (_volume, record) => this.#put(record),
        add: (_volume, record) => this.#put(record),
        addOrphan: () => {},
        deleteOrphan: () => {},
      },
      entries: {
        get: (_volume, directory, name) => this.#access!.entry(this.#node(directory), name),
        put: (_volume, directory, name, entry) => this.#putEntry(directory, name, entry),
        delete: (_volume, directory, name) => this.#names(directory).remove(name),
      },
      chunks: {
        mapped: (_volume, inode, index) => this.#content(inode).map.get(index),
        mappings: (_volume, inode, from, limit): Mapping[] => this.#content(inode).map.mappings(from, limit),
        map: (_volume, inode, index, chunk) => this.#content(inode).map.set(index, chunk),
        unmap: (_volume, inode, index) => this.#content(inode).map.delete(index),
      },
      volumes: { get: () => ({ root: parts.root }), count: () => {} },
      // The leader has named it, and none is ever given up.
      placements: { hasPool: () => true },
    };
  }

  /**
   * Runs an operation over what `access` finds under leases of that mode. Returns what it returned, the nodes that it has changed,
   * and what it has taken of quotas. Throws FileError, Missing and LackingQuota: then nothing has changed.
   */
  run<T>(
    access: Access,
    timeNs: bigint,
    mode: "shared" | "exclusive",
    operation: (context: FileContext) => T,
  ): { result: T; changed: readonly Node[]; charges: readonly Charge[] } {
    const { quotas, volume } = this.#parts;
    const charges: Charge[] = [];
    const charge = (account: Account, amount: Amount): void => void charges.push(quotas.take(account, amount));
    this.#access = access;
    this.#mode = mode;
    this.#changed = [];
    const session = { inodeGrants: takenNumbers, chunkGrants: takenNumbers };
    try {
      const context = { tables: this.#tables, timeNs, volume, session };
      const result = operation(quotas.isActive ? { ...context, charge } : context);
      return { result, changed: this.#changed, charges };
    } catch (error) {
      quotas.giveBack(charges);
      if (this.#changed.length > 0)
        throw new Error("an operation ended after it had changed the cache", { cause: error });
      throw error;
    } finally {
      this.#access = undefined;
    }
  }

  #node(inode: number): Node {
    return this.#access!.node(inode, this.#mode);
  }

  #names(directory: number) {
    const { names } = this.#parts.leases.get(directory)!;
    if (names === undefined) throw new Error(`inode ${directory} has entries and is no directory`);
    return names;
  }

  #content(inode: number): FileContent {
    return this.#parts.contentOf(this.#node(inode));
  }

  #put(record: InodeRecord): void {
    const { inode } = record.attributes;
    let node = this.#parts.leases.get(inode);
    if (node === undefined) {
      node = this.#parts.leases.cover(record);
      this.#parts.made(node);
    } else node.record = record;
    if (!this.#changed.includes(node)) this.#changed.push(node);
  }

  #putEntry(directory: number, name: string, entry: EntryRecord): void {
    this.#names(directory).set(name, entry);
  }
}
