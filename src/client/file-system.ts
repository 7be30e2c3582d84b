/**
 * The face of the client: what the FUSE handler, the exports and the simulation drive. Inodes are brinefs' own numbers;
 * the root's is `root`. Methods fail with FileError; anything else is a defect. Every request can be aborted by its
 * signal: it then rejects with EINTR, whether or not it took effect.
 *
 * What is served from memory is answered, or fails, before the call returns; only what has to wait gives a promise.
 *
 * Who keeps answers (the kernel) asks `nameValidMs` and `attributesValidMs` in the very turn in which it takes the answer,
 * and is told through `KernelCaches` before what it keeps can become wrong.
 */
import type { Attributes, FileType } from "../namespace/model.ts";
import type { TimeChange } from "../namespace/operation.ts";
import type { Loan } from "./loan.ts";
import type { Soon } from "./soon.ts";

export type { Attributes, FileType } from "../namespace/model.ts";

/** What of an AbortSignal is used. */
export interface StopSignal {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

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
  /** Asked with what the change meets, in the same moment; throws FileError if it may not be. Not for a size. */
  readonly permit?: ((attributes: Attributes) => void) | undefined;
}

export interface NewNode {
  readonly type: FileType;
  readonly mode: number;
  /** Taken off the mode, unless the directory has a default ACL (acl(5)). */
  readonly umask?: number;
  readonly uid: number;
  /** In a setgid directory the node gets that directory's group instead, and a directory its setgid bit too (inode(7)). */
  readonly gid: number;
  readonly device?: number;
  readonly target?: string;
}

export interface OpenFlags {
  readonly append?: boolean;
  readonly truncate?: boolean;
  /** O_NOATIME: reading by this handle sets no time of last access. */
  readonly keepAccessTime?: boolean;
}

export interface WriteOptions {
  readonly killPrivileges: boolean;
  readonly withinSize?: boolean;
}

/** A range of bytes, and what is to become of it: see FileSystem.allocate. */
export interface Allocation {
  readonly offset: number;
  readonly length: number;
  readonly zero: boolean;
  readonly grow: boolean;
}

/** Bytes of an open file that are to become those of another, or of other places in it. */
export interface RangeCopy {
  readonly from: Handle;
  readonly offset: number;
  readonly to: Handle;
  readonly toOffset: number;
  readonly length: number;
  readonly killPrivileges: boolean;
}

export interface VolumeSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly inodeCount: number;
  /** Undefined: as many as anybody can make. */
  readonly freeInodes: number | undefined;
}

/** What the kernel keeps of our answers. Called before the lease is given back under which they were given. */
export interface KernelCaches {
  /** The session is known to stand until then, on the platform's clock. */
  standsUntil?(untilMs: number): void;
  /**
   * All names of the mount have to be asked for again. Does not block. Meanwhile getcwd(2) may fail in a directory whose path another
   * process goes: not without need.
   */
  forgetNames(): void;
  /** Does not block, and leaves pages alone. `isNamed` (the default): names may lead to the inode. */
  forgetAttributes(inode: number, isNamed?: boolean): void;
  /**
   * Pages of mapped memory: the dirty ones come as writes (which must be served meanwhile), then all are dropped. Resolves
   * when that is done.
   */
  forgetPages(inode: number): Promise<void>;
  /**
   * Resolves when the kernel has taken the answer with which the inode was made, and keeps no attributes from it any more.
   * Undefined: there is no such answer.
   */
  settled(inode: number): Promise<void> | undefined;
  /** False: it has no pages of the file, and asks for none. */
  mayHavePages(inode: number): boolean;
}

/**
 * What becomes of data that is kept: it is only looked at, or it may be changed without a word before it is written, so that
 * nobody else may have it then.
 */
export type PageUse = "keep" | "change";

export interface ReadOptions {
  /** For mapped memory. */
  readonly pages?: PageUse;
  /** For who passes the bytes on at once. Its end is the caller's to tell, also after an error. */
  readonly loan?: Loan | undefined;
  /** read(2): it may end before the first bytes that are lost. Not for mapped memory, where the kernel would add zeros. */
  readonly mayBeShort?: boolean;
}

/** `data` (fdatasync(2)): the inode's data and what is needed to find it, which the times are not. */
export type SyncScope = "all" | "data";

/** Locks of fcntl(2), of open file descriptions, and of flock(2), which covers the whole file. */
export interface LockRange {
  readonly kind: "posix" | "flock";
  /** Who owns it, as the kernel says: unlike owners conflict. Unique within the mount. */
  readonly owner: bigint;
  readonly mode: "shared" | "exclusive";
  /** First and last byte; `lockEnd` is the end of all files. */
  readonly start: bigint;
  readonly end: bigint;
  /** For F_GETLK; means nothing on other machines. */
  readonly pid: number;
}

/** As `end` of a lock that has none: OFFSET_MAX of the kernel. */
export const lockEnd = (1n << 63n) - 1n;

export interface FileSystem {
  readonly root: number;
  /** From now on these caches are told. At most one. */
  attach(caches: KernelCaches): void;
  /** How long the names that were found in a directory (or not found) may be kept: 0 without a lease on it. */
  nameValidMs(directory: number): number;
  /** How long attributes may be kept: 0 without a lease on the inode. */
  attributesValidMs(inode: number): number;
  /** The entry's attributes, or undefined if there is no such name. */
  lookup(parent: number, name: string, signal?: StopSignal): Soon<Attributes | undefined>;
  getAttributes(inode: number, signal?: StopSignal): Soon<{ attributes: Attributes; parent: number }>;
  setAttributes(inode: number, change: AttributeChange, signal?: StopSignal): Soon<Attributes>;
  /** Makes a file, directory, symlink or special file. */
  create(parent: number, name: string, node: NewNode, signal?: StopSignal): Soon<Attributes>;
  /** Makes a regular file and opens it. Without a name it goes with its last handle, unless `link` gives it one first. */
  createAndOpen(
    parent: number,
    name: string | undefined,
    node: NewNode,
    flags: OpenFlags,
    signal?: StopSignal,
  ): Soon<{ attributes: Attributes; handle: Handle }>;
  link(inode: number, parent: number, name: string, signal?: StopSignal): Soon<Attributes>;
  unlink(parent: number, name: string, signal?: StopSignal): Soon<void>;
  removeDirectory(parent: number, name: string, signal?: StopSignal): Soon<void>;
  rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: { noReplace: boolean },
    signal?: StopSignal,
  ): Soon<void>;
  /** Both names are there, and change places in one step. Errors: ENOENT, EINVAL (one contains the other). */
  exchange(parent: number, name: string, newParent: number, newName: string, signal?: StopSignal): Soon<void>;
  readLink(inode: number, signal?: StopSignal): Soon<string>;
  /** Opens a file or directory: it stays readable until the handle is closed, whatever happens to its names. */
  open(inode: number, flags: OpenFlags, signal?: StopSignal): Soon<Handle>;
  /** One file descriptor of the handle was closed. Fails with an error of write-back that the handle has not been told of. */
  flush(handle: Handle): void;
  /** The last one was. Never fails; what must be durable was made so by `sync`. Locks of the handle are released. */
  close(handle: Handle): void;
  /**
   * Reads up to `length` (≤ 1 MiB) bytes at `offset`; fewer only at the end of the file. The list of buffers is the
   * data in order, not to be changed; with a loan they are valid until its end, else for good.
   */
  read(
    handle: Handle,
    offset: number,
    length: number,
    signal?: StopSignal,
    options?: ReadOptions,
  ): Soon<readonly Uint8Array[]>;
  /**
   * Writes `data` (≤ 1 MiB) at `offset`, or at the end for an append handle. Returns the bytes written: all of
   * them, or fewer when the stores have no space for the rest (write(2): the next one then gets ENOSPC).
   * `data` may be used until the promise settles. `killPrivileges`: clear setuid and setgid. `withinSize`: pages of mapped
   * memory; what of them is behind the end of the file is left out, and counts as written.
   */
  write(handle: Handle, offset: number, data: Uint8Array, options: WriteOptions, signal?: StopSignal): Soon<number>;
  /**
   * fallocate(2). `zero`: the bytes of the range that are in the file become zeros, whole chunks (4 MiB) of them holes. `grow`:
   * the file then reaches to the end of the range at least. No space is reserved. Errors: EFBIG, ENOSPC, EIO.
   */
  allocate(handle: Handle, asked: Allocation, signal?: StopSignal): Promise<void>;
  /** SEEK_DATA and SEEK_HOLE of lseek(2): holes are whole blocks of 4 KiB, and the end of the file is one. Errors: ENXIO, EIO. */
  seek(handle: Handle, offset: number, what: "data" | "hole", signal?: StopSignal): Promise<number>;
  /** copy_file_range(2): returns the bytes copied, fewer than asked at the end of the source, and of many. */
  copyRange(copy: RangeCopy, signal?: StopSignal): Promise<number>;
  /**
   * Resolves when everything that was done to the inode so far, data and metadata, is on disk on all in-sync members; for
   * the root everything that was done in the mount. Rejects with an error of write-back that the handle has not been told of.
   */
  sync(handle: Handle, signal?: StopSignal, scope?: SyncScope): Promise<void>;
  /** Entries behind `after` (0: from the start) in cookie order, without `.` and `..`; an empty list is the end. */
  readDirectory(
    handle: Handle,
    after: number,
    limit: number,
    withAttributes: boolean,
    signal?: StopSignal,
  ): Promise<readonly DirectoryEntry[]>;
  /** Of the volume, or of the directory with a quota in which the inode is: statfs(2). */
  statVolume(inode: number, signal?: StopSignal): Soon<VolumeSpace>;
  /** Errors: ENODATA. */
  getExtendedAttribute(inode: number, name: string, signal?: StopSignal): Soon<Uint8Array>;
  /** `mode`: setxattr(2) without flags, XATTR_CREATE (EEXIST), XATTR_REPLACE (ENODATA). Errors: ENOSPC, ERANGE. */
  setExtendedAttribute(
    inode: number,
    name: string,
    value: Uint8Array,
    mode: "set" | "create" | "replace",
    signal?: StopSignal,
  ): Soon<void>;
  listExtendedAttributes(inode: number, signal?: StopSignal): Soon<readonly string[]>;
  /** Errors: ENODATA. */
  removeExtendedAttribute(inode: number, name: string, signal?: StopSignal): Soon<void>;
  /**
   * Sets a POSIX ACL, as the kernel has it in `system.posix_acl_access` or `system.posix_acl_default`, by which names it is
   * read; undefined removes it. `killSetGroupId`: the caller may not keep that bit. `permit`: as with attributes. Errors:
   * EINVAL, EACCES.
   */
  setAccessControlList(
    inode: number,
    which: "access" | "default",
    list: Uint8Array | undefined,
    options: { killSetGroupId: boolean } & Pick<AttributeChange, "permit">,
    signal?: StopSignal,
  ): Soon<void>;
  /** A lock of another owner that is in the way, or undefined. */
  testLock(handle: Handle, lock: LockRange, signal?: StopSignal): Promise<LockRange | undefined>;
  /**
   * Sets a lock, replacing what the owner has there. `wait`: until nobody is in the way. Errors: EAGAIN, EDEADLK, EINTR
   * (the wait has ended, and nothing is held by it), ENOLCK.
   */
  setLock(handle: Handle, lock: LockRange, wait: boolean, signal?: StopSignal): Promise<void>;
  /** Releases what the owner has in the range. Of what it doesn't have nothing is said. */
  unlock(handle: Handle, lock: Pick<LockRange, "kind" | "owner" | "start" | "end">): Promise<void>;
  /** Finishes what is under way, gives everything back and ends the session. */
  unmount(): Promise<void>;
}
