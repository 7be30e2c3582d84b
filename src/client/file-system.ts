/**
 * The face of the client: what the FUSE handler, the exports and the simulation drive. Inodes are brinefs' own numbers;
 * the root's is `root`. Methods reject with FileError; anything else is a defect. Every request can be aborted by its
 * signal: it then rejects with EINTR, whether or not it took effect.
 */
import type { Attributes, FileType } from "../namespace/model.ts";
import type { TimeChange } from "../namespace/operation.ts";

export type { Attributes, FileType } from "../namespace/model.ts";

/** An open file or directory. Opaque to the caller. */
export interface Handle {
  readonly inode: number;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly inode: number;
  readonly type: FileType;
  /** Pass it as `after` to go on behind this entry. */
  readonly cookie: number;
  readonly attributes: Attributes | undefined;
}

export interface AttributeChange {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: TimeChange;
  readonly mtime?: TimeChange;
  readonly ctime?: TimeChange;
  /** Clear setuid, and setgid where the group may execute. Comes with every chown; leaves directories as they are. */
  readonly killPrivileges?: boolean;
}

export interface NewNode {
  readonly type: FileType;
  /** Permission bits, the umask already taken off. */
  readonly mode: number;
  readonly uid: number;
  /** In a setgid directory the node gets that directory's group instead, and a directory its setgid bit too (inode(7)). */
  readonly gid: number;
  readonly device?: number;
  readonly target?: string;
}

export interface OpenFlags {
  readonly append?: boolean;
  readonly truncate?: boolean;
}

export interface VolumeSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly inodeCount: number;
}

export interface FileSystem {
  readonly root: number;
  /** The entry's attributes, or undefined if there is no such name. */
  lookup(parent: number, name: string, signal?: AbortSignal): Promise<Attributes | undefined>;
  getAttributes(inode: number, signal?: AbortSignal): Promise<{ attributes: Attributes; parent: number }>;
  setAttributes(inode: number, change: AttributeChange, signal?: AbortSignal): Promise<Attributes>;
  /** Makes a file, directory, symlink or special file. */
  create(parent: number, name: string, node: NewNode, signal?: AbortSignal): Promise<Attributes>;
  /** Makes a regular file and opens it. */
  createAndOpen(
    parent: number,
    name: string,
    node: NewNode,
    flags: OpenFlags,
    signal?: AbortSignal,
  ): Promise<{ attributes: Attributes; handle: Handle }>;
  link(inode: number, parent: number, name: string, signal?: AbortSignal): Promise<Attributes>;
  unlink(parent: number, name: string, signal?: AbortSignal): Promise<void>;
  removeDirectory(parent: number, name: string, signal?: AbortSignal): Promise<void>;
  rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: { noReplace: boolean },
    signal?: AbortSignal,
  ): Promise<void>;
  readLink(inode: number, signal?: AbortSignal): Promise<string>;
  /** Opens a file or directory: it stays readable until the handle is closed, whatever happens to its names. */
  open(inode: number, flags: OpenFlags, signal?: AbortSignal): Promise<Handle>;
  /** Never fails; what must be durable was made so by `sync`. */
  close(handle: Handle): void;
  /**
   * Reads up to `length` (≤ 1 MiB) bytes at `offset`; fewer only at the end of the file. The list of buffers is the
   * data in order; they belong to the caller.
   */
  read(handle: Handle, offset: number, length: number, signal?: AbortSignal): Promise<readonly Uint8Array[]>;
  /**
   * Writes `data` (≤ 1 MiB) at `offset`, or at the end for an append handle. Returns the bytes written: all of
   * them, or fewer when the stores have no space for the rest (write(2): the next one then gets ENOSPC).
   * `data` may be used until the promise settles. `killPrivileges`: clear setuid and setgid.
   */
  write(
    handle: Handle,
    offset: number,
    data: Uint8Array,
    options: { killPrivileges: boolean },
    signal?: AbortSignal,
  ): Promise<number>;
  /** Resolves when everything that was done to the inode so far, data and metadata, is on disk on all in-sync members. */
  sync(inode: number, signal?: AbortSignal): Promise<void>;
  /** Entries behind `after` (0: from the start) in cookie order, without `.` and `..`; an empty list is the end. */
  readDirectory(
    handle: Handle,
    after: number,
    limit: number,
    withAttributes: boolean,
    signal?: AbortSignal,
  ): Promise<readonly DirectoryEntry[]>;
  statVolume(signal?: AbortSignal): Promise<VolumeSpace>;
  /** Finishes what is under way, gives everything back and ends the session. */
  unmount(): Promise<void>;
}
