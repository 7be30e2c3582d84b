/**
 * What an operation is given. An operation first checks everything, throwing FileError, and then changes the tables: one
 * that fails has changed nothing (apply.ts asserts it).
 *
 * Operations on files run in two places by the same rules: at the leader over the tables of the whole namespace, and in
 * clients over what they have cached under leases (client/cached-tables.ts). So they see tables through the narrow
 * interfaces below.
 */
import type { EntryRecord, InodeRecord, Mapping } from "./model.ts";
import type { Session } from "./tables/session-table.ts";
import type { Tables } from "./tables/tables.ts";
import type { Account, Amount } from "./usage.ts";

/** For operations of the leader. */
export interface Context {
  readonly tables: Tables;
  /** The transaction's time. */
  readonly timeNs: bigint;
}

/** Numbers that the session was granted and may use once. */
export interface GrantedNumbers {
  has(number: number): boolean;
  use(number: number): void;
}

/** The part of Tables that operations on files work with. Records are shared: who changes one puts a changed copy. */
export interface FileTables {
  readonly inodes: {
    get(volume: number, inode: number): InodeRecord | undefined;
    /** One that is there. */
    put(volume: number, record: InodeRecord): void;
    /** A new one. */
    add(volume: number, record: InodeRecord): void;
    addOrphan(volume: number, inode: number): void;
    deleteOrphan(inode: number): void;
  };
  readonly entries: {
    get(volume: number, directory: number, name: string): EntryRecord | undefined;
    put(volume: number, directory: number, name: string, entry: EntryRecord): void;
    delete(volume: number, directory: number, name: string, cookie: number): void;
  };
  readonly chunks: {
    mapped(volume: number, inode: number, index: number): number | undefined;
    /** In the order of indexes, from `from` on. */
    mappings(volume: number, inode: number, from: number, limit: number): Mapping[];
    map(volume: number, inode: number, index: number, chunk: number): void;
    unmap(volume: number, inode: number, index: number, chunk: number): void;
  };
  readonly volumes: {
    get(volume: number): { readonly root: number } | undefined;
    count(volume: number, inodes: number, chunks: number): void;
  };
  readonly placements: { hasPool(volume: number, pool: number): boolean };
}

/** For operations on files, in the volume of a client's session. */
export interface FileContext {
  readonly tables: FileTables;
  readonly timeNs: bigint;
  readonly volume: number;
  readonly session: { readonly inodeGrants: GrantedNumbers; readonly chunkGrants: GrantedNumbers };
  /** In a client whose volume has quotas; throws if the grant doesn't reach. See `charge` in usage.ts. */
  readonly charge?: ((account: Account, amount: Amount) => void) | undefined;
}

/** For the other operations of clients, at the leader only. */
export interface ClientContext extends Context {
  readonly session: Session;
  readonly volume: number;
  /** The transaction's number in its session. */
  readonly sequence: number;
}
