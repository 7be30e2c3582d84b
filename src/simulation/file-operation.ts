/** What the simulated applications do, and what came out of it: one entry of the history. */
import type { Attributes, FileType, SyncScope } from "../client/file-system.ts";
import type { AccessList, ListKind } from "./model-access-lists.ts";
import type { Piece } from "./tagged-data.ts";

export interface Change {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
}

export type FileOperation =
  | { readonly kind: "lookup"; readonly parent: number; readonly name: string }
  | { readonly kind: "getAttributes"; readonly inode: number }
  | { readonly kind: "setAttributes"; readonly inode: number; readonly change: Change }
  | {
      readonly kind: "create";
      readonly parent: number;
      readonly name: string;
      readonly type: FileType;
      readonly mode: number;
      readonly target: string;
      /** The file is open afterwards. */
      readonly open: boolean;
    }
  /** open(2) with O_TMPFILE: a file that `link` may give a name, while it is open. */
  | { readonly kind: "createUnnamed"; readonly parent: number; readonly mode: number }
  | { readonly kind: "link"; readonly inode: number; readonly parent: number; readonly name: string }
  | { readonly kind: "unlink"; readonly parent: number; readonly name: string }
  | { readonly kind: "removeDirectory"; readonly parent: number; readonly name: string }
  | {
      readonly kind: "rename";
      readonly parent: number;
      readonly name: string;
      readonly newParent: number;
      readonly newName: string;
      readonly noReplace: boolean;
    }
  /** renameat2(2), RENAME_EXCHANGE. */
  | {
      readonly kind: "exchange";
      readonly parent: number;
      readonly name: string;
      readonly newParent: number;
      readonly newName: string;
    }
  | { readonly kind: "readLink"; readonly inode: number }
  | { readonly kind: "open"; readonly inode: number; readonly truncate: boolean; readonly append: boolean }
  | { readonly kind: "close"; readonly inode: number }
  | { readonly kind: "read"; readonly inode: number; readonly offset: number; readonly length: number }
  | {
      readonly kind: "write";
      readonly inode: number;
      /** Undefined: at the end of the file. */
      readonly offset: number | undefined;
      readonly length: number;
      readonly tag: number;
      /** O_SYNC: when it returns, it is as after an fsync. The operation that opened the file. */
      readonly durableBy?: number;
    }
  /** fallocate(2): the bytes of the file that are in the range become zeros, the file reaches to its end; one or both. */
  | {
      readonly kind: "allocate";
      readonly inode: number;
      readonly offset: number;
      readonly length: number;
      readonly zero: boolean;
      readonly grow: boolean;
    }
  /** copy_file_range(2) from the inode `source`; not atomic. */
  | {
      readonly kind: "copyRange";
      readonly inode: number;
      readonly offset: number;
      readonly source: number;
      readonly sourceOffset: number;
      readonly length: number;
      /** How much it has copied, once it has returned. */
      readonly copiedBytes?: number;
      /** What the checker holds to have been read, at its place in the target. */
      readonly copied?: readonly Piece[];
    }
  /** fsync(2), or fdatasync(2), which is the same where nobody looks at times. Of the root: of everything. `handle`: the operation that opened it. */
  | { readonly kind: "sync"; readonly inode: number; readonly handle: number; readonly scope?: SyncScope }
  | { readonly kind: "readDirectory"; readonly inode: number }
  /** Bytes of mapped memory, in one page; they reach the file until the operation returns, which is when msync does. */
  | {
      readonly kind: "store";
      readonly inode: number;
      readonly offset: number;
      readonly length: number;
      readonly tag: number;
    }
  | { readonly kind: "load"; readonly inode: number; readonly offset: number; readonly length: number }
  | {
      readonly kind: "setExtended";
      readonly inode: number;
      readonly name: string;
      readonly mode: "set" | "create" | "replace";
      /** The value is this number. */
      readonly tag: number;
    }
  | { readonly kind: "getExtended"; readonly inode: number; readonly name: string }
  | { readonly kind: "listExtended"; readonly inode: number }
  | { readonly kind: "removeExtended"; readonly inode: number; readonly name: string }
  /** acl(5). */
  | {
      readonly kind: "setAccessList";
      readonly inode: number;
      readonly which: ListKind;
      /** Undefined: there is none. */
      readonly list: AccessList | undefined;
    }
  | { readonly kind: "getAccessList"; readonly inode: number; readonly which: ListKind }
  /** fcntl(2) F_SETLK of `owner` on the bytes [start, end]; EAGAIN if another is in the way. */
  | {
      readonly kind: "lock";
      readonly inode: number;
      readonly owner: number;
      readonly mode: "shared" | "exclusive";
      readonly start: number;
      readonly end: number;
      /** F_SETLKW: until nobody is in the way. */
      readonly wait: boolean;
    }
  | {
      readonly kind: "unlock";
      readonly inode: number;
      readonly owner: number;
      readonly start: number;
      readonly end: number;
    };

export type Outcome =
  | { readonly kind: "failed"; readonly errno: string }
  | { readonly kind: "attributes"; readonly attributes: Attributes }
  /** lookup, answered from the kernel's cache. */
  | { readonly kind: "found"; readonly inode: number }
  /** lookup found nothing. */
  | { readonly kind: "absent" }
  | { readonly kind: "target"; readonly target: string }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  /** write: so many bytes. */
  | { readonly kind: "written"; readonly length: number }
  | { readonly kind: "entries"; readonly entries: readonly { readonly name: string; readonly inode: number }[] }
  | { readonly kind: "names"; readonly names: readonly string[] }
  | { readonly kind: "done" };

export function describeOperation(operation: FileOperation): string {
  const { kind, ...rest } = operation;
  return `${kind} ${JSON.stringify(rest)}`;
}

export function describeOutcome(outcome: Outcome): string {
  switch (outcome.kind) {
    case "failed":
      return outcome.errno;
    case "attributes": {
      const { inode, type, mode, uid, gid, linkCount, size } = outcome.attributes;
      return `${type} ${inode} mode ${mode.toString(8)} owner ${uid}:${gid} links ${linkCount} size ${size}`;
    }
    case "found":
      return `inode ${outcome.inode}`;
    case "names":
      return outcome.names.join(" ") || "no names";
    case "target":
      return `→ ${outcome.target}`;
    case "written":
      return `${outcome.length} bytes`;
    case "data":
      return `${outcome.bytes.byteLength} bytes`;
    case "entries":
      return outcome.entries.map(({ name, inode }) => `${name}=${inode}`).join(" ") || "no entries";
    default:
      return outcome.kind;
  }
}
