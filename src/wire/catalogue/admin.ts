/** What the command line and the console ask of a server. Numbers 300–399. */
import {
  boolean,
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
} from "../../codec/schema.ts";
import { groupMember, label, labelsMax, memberState, storeStatus, volumeRecord } from "../../namespace/model.ts";
import { method } from "../method.ts";
import { leaseMode } from "./leader.ts";
import { scrubReport } from "./registration.ts";
import { seriesMax, wireSeries } from "./watch.ts";

export const serverStatus = struct({
  serverId: text(64),
  address: text(256),
  pid: u32,
  roles: list(text(16), 4),
  /** `online`, or `offline` for a store that isn't heard of. */
  state: text(16),
  /** 0 for a server without the store role. */
  store: u32,
  /** Its disk is much slower than those of the others. */
  isSlow: boolean,
  /** An operator says that it is slow. */
  isCalledSlow: boolean,
  status: storeStatus,
  labels: list(label, labelsMax),
  totalBytes: u64,
  freeBytes: u64,
  /** Found since the store was made. */
  badBlocks: u64,
  /** Of those: a good copy has taken their place. */
  repairedBlocks: u64,
  /** The scrub that runs, or the last one. */
  scrub: optional(scrubReport),
  /** Groups in which the store is a member that is not in sync, by state. */
  groupsInSync: u32,
  groupsCatchingUp: u32,
  groupsBehind: u32,
});

/** Bytes of a file of which stores have a bad copy. */
export const badFileRange = struct({
  volume: text(64),
  /** Empty for a file without a name. */
  path: text(8192),
  inode: u64,
  offset: u64,
  length: u64,
  chunk: u64,
  stores: list(u32, 16),
  /** No member in sync has a good copy: reads of these bytes fail with EIO. */
  isLost: boolean,
});
export type BadFileRange = Infer<typeof badFileRange>;

export const clusterStatus = struct({
  clusterId: text(64),
  servers: list(serverStatus, 1024),
  volumes: list(volumeRecord, 1024),
  sessions: list(
    struct({ session: u64, volume: u16, host: text(256), openedNs: i64, heardMsAgo: u32, leases: u32, holds: u32 }),
    65_536,
  ),
  groups: list(
    struct({ group: u16, volume: u16, replicas: u8, generation: u32, members: list(groupMember, 16) }),
    8192,
  ),
  /**
   * While copies are made: how many since the first was missing, how many are left, how far it is, for how long it takes, and
   * (once that can be told) how long it will take.
   */
  healing: optional(
    struct({ copies: u32, missing: u32, donePermille: u16, forMs: u64, leftMs: optional(u64), copiedBytes: u64 }),
  ),
  /** Blocks that are bad on some store now. */
  badRanges: list(badFileRange, 1024),
  /** `one copy`, or where the second one is. */
  metadata: text(256),
  appliedIndex: u64,
  /** Chunks whose deletion is not finished. */
  chunksToDelete: u64,
  /** Sentences for people: what is below its target, and what to do. Empty when all is well. */
  problems: list(text(1024), 1024),
});
export type ClusterStatus = Infer<typeof clusterStatus>;
export type ServerStatus = Infer<typeof serverStatus>;

export const readStatus = method(300, "admin.status", nothing, clusterStatus);

/**
 * Errors: exists, invalid (fewer online stores than replicas; inSyncMin outside of 1 to replicas; a name that isn't
 * [A-Za-z0-9._-]{1,64}).
 */
export const createVolume = method(
  301,
  "admin.createVolume",
  struct({ name: text(64), replicas: u8, inSyncMin: u8, uid: u32, gid: u32, mode: u16 }),
  struct({ volume: volumeRecord }),
);

/** Errors: notFound, busy (mounted somewhere). */
export const deleteVolume = method(302, "admin.deleteVolume", struct({ name: text(64) }), nothing);

/**
 * How many copies of everything in a volume there are to be; they are made afterwards. `inSyncMin`: how few in sync its groups take
 * writes with, 1 to the fewest copies that the volume or a rule of it makes; answered when all clients know it, or their sessions have
 * ended. What isn't given stays. Errors: notFound, invalid.
 */
const copiesChange = struct({ name: text(64), replicas: optional(u8), inSyncMin: optional(u8) });
export type CopiesChange = Infer<typeof copiesChange>;
export const setCopies = method(307, "admin.setCopies", copiesChange, nothing);

/**
 * add: it takes its share of the groups. drain: what it has moves to others. remove: it is taken out of the cluster for good; refused
 * while it is needed. giveUp: the same for one that is dead, though it may have the last good copy of groups: these go on with what others
 * have (`heirs`). slow: it is read only where no other has a copy, until notSlow; answered when clients know. `store` is its number or address. Answers with the groups in which it is.
 * Errors: notFound, refused, busy.
 */
const storeChange = struct({ store: text(256), change: oneOf("add", "drain", "remove", "slow", "notSlow", "giveUp") });
export type StoreChange = Infer<typeof storeChange>;

/** Who goes on with groups whose last good copy is gone; `empty`: with so many of them it begins without anything. */
const heir = struct({ store: u32, isOnline: boolean, groups: u32, empty: u32 });
export type Heir = Infer<typeof heir>;

const storeChanged = struct({ store: u32, groups: u32, heirs: list(heir, 1024) });
export type StoreChanged = Infer<typeof storeChanged>;
export const changeStore = method(308, "admin.changeStore", storeChange, storeChanged);

/** Most bytes of rows in one answer of backupMetadata, unless a single row has more. */
export const backupPageBytes = 512 * 1024;

export const backupRow = struct({ key: bytes(1024), value: bytes(1024 * 1024) });
export type BackupRow = Infer<typeof backupRow>;

/**
 * The namespace's state as it was at one moment, page by page in the order of keys. `backup` 0 begins a backup, its number
 * goes with the following requests, together with the last key that has come. Without a request for a minute it is given up.
 * Errors: busy (another one is under way), notFound (it was given up), noSpace (the copy has no room beside the state).
 */
export const backupMetadata = method(
  310,
  "admin.backupMetadata",
  struct({ backup: u32, after: bytes(1024) }),
  struct({
    backup: u32,
    clusterId: text(64),
    /** The ledger's index that the state has applied, and a term that no entry of it is above. */
    index: u64,
    term: u64,
    rows: list(backupRow, 65_536),
    done: boolean,
  }),
);

/** Chunks that one request of checkChunks looks at, at most. */
export const checkedChunksMax = 1000;

export const missingChunk = struct({
  chunk: u64,
  store: u32,
  volume: text(64),
  /** Empty for a file without a name. */
  path: text(8192),
  inode: u64,
  offset: u64,
});
export type MissingChunk = Infer<typeof missingChunk>;

/**
 * Compares the next part of a group, behind the chunk `after`, with what its members in sync have. `repair`: chunks that nothing
 * refers to are removed there. `unasked`: members that are not in sync, or offline. Errors: notFound, busy (ask again).
 */
export const checkChunks = method(
  311,
  "admin.checkChunks",
  struct({ group: u16, after: u64, repair: boolean }),
  struct({
    upTo: u64,
    done: boolean,
    mapped: u32,
    orphaned: u32,
    removed: u32,
    missing: list(missingChunk, checkedChunksMax),
    unasked: list(u32, 16),
  }),
);

/**
 * Stores read everything they have, at once. `store`: its number or address, empty for all; `volume`: only what is of it, empty
 * for all. Answers with the stores that have begun. Errors: notFound, unreachable.
 */
export const orderScrub = method(
  312,
  "admin.orderScrub",
  struct({ store: text(256), volume: text(64) }),
  struct({ stores: list(u32, 1024) }),
);

/** The server process ends cleanly. */
export const stopServer = method(303, "admin.stop", struct({ force: boolean }), nothing);

// --- who waits for whom, and how long things take ---

/** One thing that waits, anywhere in the cluster. */
export const clusterWait = struct({
  /** `client`, `leader` or `store`: where it waits. */
  role: text(16),
  /** The mount (host, process, directory), the leader's or the store's address. */
  who: text(512),
  /** Of the client that waits; 0: none. */
  session: u64,
  operation: text(1024),
  /** Empty where it is about no single inode. */
  volume: text(64),
  inode: u64,
  /** In the volume; empty for an inode without a name, or one that the leader has not heard of yet. */
  path: text(8192),
  waitsFor: text(2048),
  forMs: u64,
});
export type ClusterWait = Infer<typeof clusterWait>;

export const clusterWaitsMax = 8192;

const waitsFound = {
  /** The longest first. */
  waits: list(clusterWait, clusterWaitsMax),
  /** Who did not answer within a second, with the reason. */
  silent: list(text(1024), 1024),
};

/** Everything that waits in the cluster: the leader asks all clients and stores. */
export const readClusterWaits = method(304, "admin.readWaits", nothing, struct(waitsFound));

/** Most holders of one inode, and groups of one file, in an answer. */
export const holdersMax = 4096;

export const inodeReport = struct({
  /**
   * The end of the path, where the leader doesn't know all of it: the report is about the directory before. Some client may
   * have made it and not told of it yet.
   */
  missing: text(8192),
  inode: u64,
  path: text(8192),
  type: text(16),
  size: u64,
  /** Chunks that are mapped. */
  chunkCount: u32,
  leases: list(
    struct({
      session: u64,
      who: text(512),
      mode: leaseMode,
      forMs: u64,
      /** What others want, if it has been asked back: all of it (`exclusive`), or that it goes down to shared. */
      recalledFor: optional(leaseMode),
    }),
    holdersMax,
  ),
  /** Of a file on which several work at once: who has which of its chunks. The first of them, by index. */
  chunks: list(struct({ index: u32, who: text(512), mode: leaseMode, forMs: u64 }), holdersMax),
  /** Mounts that have it open without a lease. */
  holds: list(text(512), holdersMax),
  /** Where the chunks are. */
  groups: list(
    struct({
      group: u16,
      generation: u32,
      chunks: u32,
      members: list(struct({ store: u32, address: text(256), state: memberState, condition: text(16) }), 16),
    }),
    holdersMax,
  ),
  ...waitsFound,
});
export type InodeReport = Infer<typeof inodeReport>;

/**
 * What the leader knows of an inode, and every wait that concerns it or the directories above it. `inode` 0: it is found by
 * its path in the volume. Errors: notFound (no such volume).
 */
export const explainInode = method(
  305,
  "admin.explain",
  struct({ volume: text(64), inode: u64, path: text(8192) }),
  inodeReport,
);

/** Figures of one process. */
export const processMetrics = struct({
  /** `client`, `leader` or `store`. */
  role: text(16),
  who: text(512),
  session: u64,
  forMs: u64,
  series: list(wireSeries, seriesMax),
});
export type ProcessMetrics = Infer<typeof processMetrics>;

/** Most processes in one answer. */
export const processesMax = 512;

/**
 * Metrics of the leader, the stores and the clients, or of one session's client alone (`session` not 0).
 * `omitted`: processes for which there was no room in the answer.
 */
export const readClusterMetrics = method(
  306,
  "admin.readMetrics",
  struct({ lastMinute: boolean, session: u64 }),
  struct({ processes: list(processMetrics, processesMax), silent: list(text(1024), 1024), omitted: u32 }),
);
