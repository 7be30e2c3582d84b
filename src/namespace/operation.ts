/**
 * The catalogue of transactions: everything that can change the namespace. Each operation's rules are in the file of
 * its name in operations/. A transaction is deterministic: time and ids are in it.
 */
import {
  boolean,
  byteString,
  bytes,
  type Infer,
  i64,
  list,
  nothing,
  oneOf,
  optional,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
  union,
} from "../codec/schema.ts";
import {
  attributes,
  extendedNameBytesMax,
  extendedValueBytesMax,
  fileType,
  groupMember,
  label,
  labelsMax,
  mapping,
  name,
  patternBytesMax,
  patternSyntax,
  poolLabelsMax,
  quotaLimits,
  quotaSubject,
  range,
  rulesMax,
  sessionUser,
  storeStatus,
  targetBytesMax,
} from "./model.ts";

/** A time to set: the transaction's own, or a given one (utimensat(2)). */
export const timeChange = union({ now: nothing, at: struct({ ns: i64 }) });
export type TimeChange = Infer<typeof timeChange>;

/** Most chunk mappings one transaction may change. */
export const mappingsMax = 64;

export const operation = union({
  // --- by clients, in their session's volume ---

  /**
   * Makes a file, directory or special file. `inode` is from a range of the session. In a setgid directory it gets that
   * directory's group, and a directory the setgid bit too (inode(7)); in one with a default ACL what that says (acl(5)), and
   * only without one is `umask` taken off. EEXIST, ENOENT, ENOTDIR, EMLINK.
   */
  create: struct({
    parent: u64,
    name,
    inode: u64,
    type: fileType,
    mode: u16,
    umask: u16,
    uid: u32,
    gid: u32,
    device: u32,
    /** For a symlink, else empty. */
    target: byteString(targetBytesMax),
  }),
  /** A further name for a file, or the first of an unnamed one. EEXIST, ENOENT, EPERM for a directory, EMLINK. */
  link: struct({ inode: u64, parent: u64, name }),
  /** Removes a name of anything but a directory. The last one moves the inode to the orphans. ENOENT, EISDIR. */
  unlink: struct({ parent: u64, name }),
  /** ENOENT, ENOTDIR, ENOTEMPTY. */
  rmdir: struct({ parent: u64, name }),
  /** rename(2), renameat2(2). `noReplace`: EEXIST if the target is there. EINVAL into its own child, ENOTEMPTY, … */
  rename: struct({ parent: u64, name, newParent: u64, newName: name, noReplace: boolean }),
  /**
   * chmod, chown, utimens, truncate. A truncate inside a mapped chunk brings the clone with the zeroed tail in
   * `mappings`; chunks beyond the new end are unmapped. `killPrivileges` clears setuid, and setgid where the group may
   * execute; it leaves directories as they are.
   */
  setAttributes: struct({
    inode: u64,
    mode: optional(u16),
    uid: optional(u32),
    gid: optional(u32),
    size: optional(u64),
    mappings: list(mapping, mappingsMax),
    atime: optional(timeChange),
    mtime: optional(timeChange),
    ctime: optional(timeChange),
    killPrivileges: boolean,
  }),
  /** Data that is on the stores becomes part of the file: maps new chunks, extends the size to `end`, sets mtime. */
  write: struct({ inode: u64, mappings: list(mapping, mappingsMax), end: u64, killPrivileges: boolean }),
  /**
   * setxattr(2). `create`: EEXIST if it is there; `replace`: ENODATA if it isn't. ENOSPC when the inode's would be more than
   * `extendedBytesMax`, or more than `extendedCountMax`.
   */
  setExtendedAttribute: struct({
    inode: u64,
    name: byteString(extendedNameBytesMax),
    value: bytes(extendedValueBytesMax),
    mode: oneOf("set", "create", "replace"),
  }),
  /** Chunks with indexes from `from` on and below `below` become holes; sets mtime. EINVAL: not a regular file. */
  unmap: struct({ inode: u64, from: u32, below: u32 }),
  /** removexattr(2). ENODATA. */
  removeExtendedAttribute: struct({ inode: u64, name: byteString(extendedNameBytesMax) }),
  /**
   * Makes a file without a name, as `create` would in that directory (O_TMPFILE): an orphan that `link` may give one. ENOENT,
   * ENOTDIR.
   */
  createUnnamed: struct({ parent: u64, inode: u64, mode: u16, umask: u16, uid: u32, gid: u32 }),
  /** renameat2(2) with RENAME_EXCHANGE: both names are there, and change places. ENOENT, EINVAL, EMLINK. */
  exchange: struct({ parent: u64, name, newParent: u64, newName: name }),
  /**
   * A POSIX ACL as the kernel has it in an extended attribute; empty: there is none any more. `killSetGroupId`: the caller may
   * not keep that bit. EOPNOTSUPP, EACCES, EINVAL, ENOSPC.
   */
  setAccessControlList: struct({
    inode: u64,
    which: oneOf("access", "default"),
    list: bytes(extendedValueBytesMax),
    killSetGroupId: boolean,
  }),
  /** Gives the session new inode numbers, at most `inodeGrantMax`. */
  grantInodes: struct({ count: u32 }),
  /**
   * Gives the session new chunk ids in one group of a pool of its volume, at most `chunkGrantMax`. ENOSPC if no group can
   * take writes. Of more than 1,024 unfinished grants the oldest is taken back.
   */
  grantChunks: struct({ count: u32, pool: u16 }),

  // --- by the leader ---

  /** Registers a client; the same clientId finds the same session again. `session` is for a new one. */
  openSession: struct({ clientId: text(64), volume: u16, host: text(256) }),
  /**
   * Ends a session, by its client's wish or because it was fenced. What it never mapped of its granted chunks joins the
   * chunks to delete, whole grants at a time, so that the transaction stays small.
   */
  closeSession: struct({ session: u64 }),
  /** Removes up to `limit` chunk mappings of an orphan, and the orphan itself with the last of them. */
  reapOrphan: struct({ volume: u16, inode: u64, limit: u32 }),
  /** All in-sync members have deleted these chunks: they leave the list of deletions. */
  chunksDeleted: struct({ chunks: list(u64, 4096) }),
  /** `groups`: the members of its groups, if there are none without a volume that fit. */
  createVolume: struct({
    name: text(64),
    replicas: u8,
    inSyncMin: u8,
    uid: u32,
    gid: u32,
    mode: u16,
    groups: list(list(groupMember, 16), 256),
  }),
  /**
   * The number of copies of a volume, and how few of them have to be in sync for its groups to take writes. Its groups get the
   * members that this takes later, one by one. ENOENT, EINVAL.
   */
  setCopies: struct({ volume: u16, replicas: u8, inSyncMin: u8 }),
  /**
   * Sets the limits of a quota; none at all: it ends. On a directory (`tree`) what is in it is then counted step by step, or
   * taken out again: `countTree`. ENOENT, ENOTDIR, EINVAL (the volume's root, or quotas of directories would nest), EBUSY
   * (another directory of the volume is being counted).
   */
  setQuota: struct({ volume: u16, subject: quotaSubject, limits: quotaLimits }),
  /**
   * Entries of a directory up to the cookie `upTo` get its tree; directories among them are looked at next. `last`: there are no
   * entries behind it. The leader has the leases on all inodes that this changes. ENOENT.
   */
  countTree: struct({ volume: u16, tree: u64, directory: u64, upTo: u64, last: boolean }),
  /** Marks a volume as deleted; `removeVolumeInodes` then empties it step by step. */
  deleteVolume: struct({ volume: u16 }),
  /** Removes up to `limit` rows (mappings, entries, inodes) of a deleted volume, and the volume itself with the last. */
  removeVolumeInodes: struct({ volume: u16, limit: u32 }),
  /** A store's first registration, or its new address and labels. */
  registerStore: struct({ serverId: text(64), address: text(256), labels: list(label, labelsMax) }),
  /** What becomes of a store. One that is removed must be in no group, or in those only that do without it. */
  setStoreStatus: struct({ store: u32, status: storeStatus }),
  /** New members or states; refused (ESTALE) unless `generation` is the group's present one, which then grows by one. */
  changeGroup: struct({ group: u16, generation: u32, members: list(groupMember, 16) }),

  // --- by clients ---

  /**
   * Chunk ids of the session's grants that it has used on stores and will never map (a write that failed): they join the
   * chunks to delete. EINVAL for one that it was not granted or that it has mapped.
   */
  discardChunks: struct({ chunks: list(u64, 1024) }),
  /**
   * The file's chunks are to come from this pool's groups from now on; those at the indexes of `mappings` are replaced by new ones
   * with the same content. No time and no attribute changes. EINVAL: not a regular file, no such pool, a hole.
   */
  place: struct({ inode: u64, pool: u16, mappings: list(mapping, mappingsMax) }),
  /** Was read: atime becomes the transaction's time, unless it is later. Nothing else changes. */
  access: struct({ inode: u64 }),
  /** As `grantChunks`, but of this group: for chunks that are to share another's blocks. EINVAL if it is not of the pool. */
  grantChunksOf: struct({ count: u32, pool: u16, group: u16 }),

  // --- by the leader ---

  /** Labels of a store: those that are given replace those of the same key; an empty value takes one away. ENOENT, EINVAL. */
  setStoreLabels: struct({ store: u32, labels: list(label, labelsMax) }),
  /**
   * A volume's failure domain and placement rules, all of them, in their order. `pools`: groups for what rules ask for and the volume
   * has no pool for yet. ESTALE unless `version` is the present one; ENOENT, EINVAL, ENOSPC (pools or group numbers are used up).
   */
  setPlacement: struct({
    volume: u16,
    version: u32,
    failureDomain: text(64),
    rules: list(
      struct({
        syntax: patternSyntax,
        pattern: text(patternBytesMax),
        replicas: u8,
        labels: list(label, poolLabelsMax),
      }),
      rulesMax,
    ),
    pools: list(
      struct({
        replicas: u8,
        labels: list(label, poolLabelsMax),
        groups: list(list(groupMember, 16), 256),
      }),
      rulesMax,
    ),
  }),
  /** Clients are to read from the store only where no other has a copy, or are not to mind any more. ENOENT. */
  callStoreSlow: struct({ store: u32, isCalledSlow: boolean }),
  /** Members of a group whose last one in sync is gone for good: one is catching up, its heir, and nobody in sync. ENOENT, ESTALE, EINVAL. */
  acceptLoss: struct({ group: u16, generation: u32, members: list(groupMember, 16) }),
  /** Blocks within the chunks of a file have not been written: `hasHoles` from now on, until nothing is mapped. ENOENT, EINVAL. */
  markHoles: struct({ inode: u64 }),

  // --- by the leader ---

  /** The session acts for this user from now on: his permissions are checked. ENOENT, EPERM (it has another one). */
  bindSession: struct({ session: u64, user: sessionUser }),
  /** Groups below this number were made, if not in this state: it is from a backup, and stores know them. New ones have higher numbers. */
  skipGroups: struct({ below: u32 }),
  /** Changes that were acknowledged are missing here: numbers that may have been used by them are not given. See restored.ts. ENOSPC. */
  raiseNumbers: nothing,
});
export type Operation = Infer<typeof operation>;
export type OperationKind = Operation["kind"];
export type OperationOf<K extends OperationKind> = Extract<Operation, { kind: K }>;

export const result = union({
  /** The operation changed nothing. */
  failed: struct({ errno: u16 }),
  done: nothing,
  /** create, createUnnamed, link, setAttributes, write, setAccessControlList, unmap, place, markHoles: the inode afterwards. */
  attributes: struct({ attributes }),
  /** unlink, rmdir, rename, exchange: the inode that lost its last name by it, or 0. */
  removed: struct({ orphan: u64 }),
  /** openSession. */
  session: struct({ session: u64, lastSequence: u64 }),
  /** grantInodes, grantChunks, grantChunksOf. */
  granted: struct({ range }),
  /** reapOrphan, removeVolumeInodes: false while something is left. */
  reaped: struct({ finished: boolean }),
  /** createVolume, registerStore: its number. */
  made: struct({ id: u32 }),
});
export type Result = Infer<typeof result>;

export const transaction = struct({
  /** Session that sends it; 0: the leader itself (never resent, so `sequence` is 0). */
  session: u64,
  /** Numbers of a session's transactions have no gap: an equal or lower one is a resend and has the result it had. */
  sequence: u64,
  /** The client has the results up to this one. */
  confirmed: u64,
  /** Set by the leader, never lower than in its transaction before; or by the client that has predicted the result. */
  timeNs: i64,
  /**
   * Its client has executed it already, under its leases, and answered: the result of a success is not kept, a resend
   * gets `done`.
   */
  predicted: boolean,
  operation,
});
export type Transaction = Infer<typeof transaction>;
