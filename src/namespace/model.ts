/**
 * The records and ids of the namespace, and their bytes.
 *
 * Ids are whole numbers below 2^53, never used twice. Times are nanoseconds since 1970 as bigint. Names are byte
 * strings: one character (0–255) a byte, so that any byte but `/` and NUL passes through unchanged.
 */
import {
  boolean,
  byteString,
  bytes,
  type Codec,
  type Infer,
  i64,
  list,
  oneOf,
  optional,
  shortList,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
} from "../codec/schema.ts";

/** Bytes in a chunk: the unit of placement and of dirty tracking. */
export const chunkBytes = 4 * 1024 * 1024;
/** Bytes in a checksum block. */
export const blockBytes = 4096;
/** Checksum blocks in a chunk. */
export const blocksPerChunk = chunkBytes / blockBytes;
/** Longest name of a directory entry (NAME_MAX). */
export const nameBytesMax = 255;
/** Longest symlink target (PATH_MAX − 1). */
export const targetBytesMax = 4095;
/** Most links an inode can have; ext4 has 65,000. */
export const linkCountMax = 65_000;
/** Largest file: 16 TiB, as ext4 with 4 KiB blocks. */
export const fileBytesMax = 16 * 1024 ** 4;

/** A chunk id is `group × 2^40 + number`: the group is its upper 13 bits. */
export const chunkNumbersPerGroup = 2 ** 40;
export const groupMax = 2 ** 13 - 1;

export function groupOfChunk(chunk: number): number {
  return Math.floor(chunk / chunkNumbersPerGroup);
}

export function firstChunkOf(group: number): number {
  return group * chunkNumbersPerGroup;
}

export const fileType = oneOf("file", "directory", "symlink", "fifo", "socket", "characterDevice", "blockDevice");
export type FileType = Infer<typeof fileType>;

export const name = byteString(nameBytesMax);

/** In the bytes of `chunkCount`, above all counts that there can be (2^22 chunks in the largest file). */
const holesBit = 2 ** 31;

const attributesWithoutHoles = struct({
  inode: u64,
  type: fileType,
  /** Permission bits with setuid, setgid and sticky: 0–0o7777. */
  mode: u16,
  uid: u32,
  gid: u32,
  linkCount: u32,
  /** Bytes; for a directory its number of entries × 32, for a symlink the length of its target. */
  size: u64,
  /** Chunks that are mapped: what is not a hole. */
  chunkCount: u32,
  /** Device number of a device node, as the kernel encodes it (new_encode_dev). */
  device: u32,
  atimeNs: i64,
  mtimeNs: i64,
  ctimeNs: i64,
  btimeNs: i64,
});

/** An inode's attributes as stat(2) shows them. */
export interface Attributes extends Infer<typeof attributesWithoutHoles> {
  /** Blocks within mapped chunks may never have been written: the file takes less than its mapped chunks have. */
  hasHoles: boolean;
}

export const attributes: Codec<Attributes> = {
  write: (writer, value) => {
    const { hasHoles, chunkCount } = value;
    attributesWithoutHoles.write(writer, hasHoles ? { ...value, chunkCount: chunkCount + holesBit } : value);
  },
  read: (reader) => {
    const value = attributesWithoutHoles.read(reader) as Attributes;
    value.hasHoles = value.chunkCount >= holesBit;
    if (value.hasHoles) value.chunkCount -= holesBit;
    return value;
  },
};

/** XATTR_NAME_MAX and XATTR_SIZE_MAX, linux/limits.h. */
export const extendedNameBytesMax = 255;
export const extendedValueBytesMax = 65_536;
/** All names and values of an inode: they travel with its record. ext4 has a block of 4 KiB, XFS no bound. */
export const extendedBytesMax = 65_536;
export const extendedCountMax = 4096;

/** One extended attribute, xattr(7): the name with its namespace (`user.`, `security.`, …). */
export const extendedAttribute = struct({
  name: byteString(extendedNameBytesMax),
  value: bytes(extendedValueBytesMax),
});
export type ExtendedAttribute = Infer<typeof extendedAttribute>;

/** What the namespace keeps for an inode. */
export const inodeRecord = struct({
  attributes,
  /** Directory that holds the entry made last for this inode; a hint for files, the truth for directories. */
  parent: u64,
  /** Cookie of that entry, by which its name is found; 0 for the root of a volume, and for a file that never had a name. */
  parentCookie: u64,
  /** Target of a symlink, else empty. */
  target: byteString(targetBytesMax),
  /** Cookie that the next entry of this directory gets. */
  nextCookie: u64,
  /** In the order in which they were set first. */
  extendedAttributes: shortList(extendedAttribute, extendedCountMax),
  /** Of a file: the pool of its volume from whose groups its chunks are to come; 0: the volume's own groups. */
  pool: u16,
  /** The directory whose quota it counts for: itself, or one above it; 0: none. Directories in it have the same. */
  tree: u64,
});
export type InodeRecord = Infer<typeof inodeRecord>;

/** An entry, found by directory and name. The cookie never changes and never comes again in its directory. */
export const entryRecord = struct({ inode: u64, type: fileType, cookie: u64 });
export type EntryRecord = Infer<typeof entryRecord>;

/** Where a chunk index of a file lies. An index that is not mapped is a hole. */
export const mapping = struct({ index: u32, chunk: u64 });
export type Mapping = Infer<typeof mapping>;

/** in sync: has every acknowledged write. catching up: takes writes, not read. behind: neither. */
export const memberState = oneOf("inSync", "catchingUp", "behind");
export type MemberState = Infer<typeof memberState>;

export const groupMember = struct({ store: u32, state: memberState });
export type GroupMember = Infer<typeof groupMember>;

/** What an operator says of a store: `host=alpha`, `disk=ssd`. */
export const label = struct({ key: text(64), value: text(256) });
export type Label = Infer<typeof label>;
export const labelsMax = 32;
/** That one placement rule asks for. */
export const poolLabelsMax = 8;
/** Which stores fail together: those of one machine. */
export const defaultFailureDomain = "host";

/** A mirror group: stores that hold the same chunks. Its generation grows with every change of its members. */
export const groupRecord = struct({
  group: u16,
  /** Whose chunks it holds; 0: its volume is gone, another one may take it over. */
  volume: u16,
  /** Of the volume; 0 for the files that no placement rule speaks of. */
  pool: u16,
  /** Copies wanted: as many as the volume says, or its placement rule. */
  replicas: u8,
  /** They are to be on stores that have all of these. */
  labels: list(label, poolLabelsMax),
  /** A label of stores: copies go to stores on which its values differ, if there are. */
  failureDomain: text(64),
  generation: u32,
  members: list(groupMember, 16),
  /** Next chunk number of the group that no session has been granted. */
  nextNumber: u64,
});
export type GroupRecord = Infer<typeof groupRecord>;

/**
 * active: takes groups. spare: gets none until it is asked for, or another store is lost for good. draining: is being emptied.
 * removed: is nobody any more, and never comes back under this server id.
 */
export const storeStatus = oneOf("active", "spare", "draining", "removed");
export type StoreStatus = Infer<typeof storeStatus>;

export const storeRecord = struct({
  store: u32,
  serverId: text(64),
  address: text(256),
  status: storeStatus,
  /** Copies of a group go to stores with different `host`, if there are. */
  labels: list(label, labelsMax),
  /** As its server named them at its last start: one that is named otherwise at the next replaces what was set since. */
  startLabels: list(label, labelsMax),
  /** An operator says so: it is read only where no other has a copy. */
  isCalledSlow: boolean,
});
export type StoreRecord = Infer<typeof storeRecord>;

export const volumeRecord = struct({
  volume: u16,
  name: text(64),
  replicas: u8,
  /** Its groups take writes with so many members in sync, or more: see namespace/in-sync-min.ts. */
  inSyncMin: u8,
  root: u64,
  createdNs: i64,
  /** Its inodes and chunks are being removed; it can't be mounted. */
  deleted: boolean,
  /** Its inodes, orphans included. */
  inodeCount: u64,
  /** Chunks that its files map. */
  chunkCount: u64,
  /** Grows with each change of its quotas' limits; 0: it never had any. */
  quotaVersion: u32,
});
export type VolumeRecord = Infer<typeof volumeRecord>;

/** Groups of a volume on stores with some labels, for the files of one or several placement rules. */
export const pool = struct({ pool: u16, replicas: u8, labels: list(label, poolLabelsMax) });
export type Pool = Infer<typeof pool>;
/** Of one volume: they are never given up, because chunks may be in their groups. */
export const poolsMax = 64;

/**
 * glob: of the name, or of the whole path if there is a `/` in it. expression: a regular one, looked for in the path. Paths begin
 * with the volume's root, `/`.
 */
export const patternSyntax = oneOf("glob", "expression");
export const patternBytesMax = 256;
export const placementRule = struct({ syntax: patternSyntax, pattern: text(patternBytesMax), pool: u16 });
export type PlacementRule = Infer<typeof placementRule>;
export const rulesMax = 64;

/** Where the files of a volume go. */
export const placementRecord = struct({
  /** Counts the changes. */
  version: u32,
  failureDomain: text(64),
  pools: list(pool, poolsMax),
  /** The first that matches the path of a file, when that is made, says its pool. */
  rules: list(placementRule, rulesMax),
});
export type PlacementRecord = Infer<typeof placementRecord>;

/** What a quota is on: a whole volume, a directory with all that is below it, what belongs to a user or to a group. */
export const quotaKind = oneOf("volume", "tree", "user", "group");
export type QuotaKind = Infer<typeof quotaKind>;

/** Which one: the inode of the directory, uid, gid; 0 for the volume. */
export const quotaSubject = struct({ kind: quotaKind, id: u64 });
export type QuotaSubject = Infer<typeof quotaSubject>;

export const quotaLimits = struct({ bytes: optional(u64), inodes: optional(u64) });
export type QuotaLimits = Infer<typeof quotaLimits>;

/** Usage, and limits where there are any. Usage is kept for everything that has some, with limits or without. */
export const quotaRecord = struct({
  subject: quotaSubject,
  limits: quotaLimits,
  /** Allocated: see namespace/usage.ts. */
  bytes: u64,
  inodes: u64,
});
export type QuotaRecord = Infer<typeof quotaRecord>;

/** Numbers [first, first + count) that a session may use; for chunks they are chunk ids of one group. */
export const range = struct({ first: u64, count: u32 });
export type Range = Infer<typeof range>;

/** Most inode numbers and chunk ids in one grant: what is left of a grant is a bitmap in one small row. */
export const inodeGrantMax = 4096;
export const chunkGrantMax = 1024;

/** Supplementary groups of a session's user. The kernel's bound is 65,536; who has more than a few dozen is rare. */
export const userGroupsMax = 1024;

/** For whom a session acts, as the client's machine says: the server believes it, as NFS does with AUTH_SYS. */
export const sessionUser = struct({ uid: u32, gid: u32, groups: list(u32, userGroupsMax) });
export type SessionUser = Infer<typeof sessionUser>;

export function isSameUser(one: SessionUser, other: SessionUser): boolean {
  if (one.uid !== other.uid || one.gid !== other.gid || one.groups.length !== other.groups.length) return false;
  return one.groups.every((group, at) => group === other.groups[at]);
}

/**
 * A client's registration. Its results are kept until it confirms them. What it was granted is kept in rows of its own,
 * because this one is written with every batch.
 */
export const sessionRecord = struct({
  session: u64,
  /** Made by the client, so that a resent open finds the same session: 32 hex digits. */
  clientId: text(64),
  volume: u16,
  /** Host name and process id, for people. */
  host: text(256),
  openedNs: i64,
  /** The last transaction that was applied; the next has the number after it. */
  lastSequence: u64,
  /** Results up to here were confirmed and are forgotten. */
  confirmedSequence: u64,
});
export type SessionRecord = Readonly<Infer<typeof sessionRecord>> & {
  /** Grants with a number in them that the session has not used yet. */
  readonly inodeRanges: readonly Range[];
  readonly chunkRanges: readonly Range[];
  /** In a row of its own. Undefined: it is a mount's, which serves many. */
  readonly user: SessionUser | undefined;
};
