/**
 * What clients and stores ask of the metadata leader, and what the leader asks of clients. Numbers 100–199.
 * Errors are BrineErrors; what an application gets as errno comes back inside results, or as FileError.
 */
import {
  boolean,
  byteString,
  type Infer,
  i64,
  list,
  nothing,
  oneOf,
  optional,
  struct,
  text,
  u16,
  u32,
  u64,
} from "../../codec/schema.ts";
import {
  attributes,
  fileType,
  mapping,
  memberState,
  name,
  targetBytesMax,
  volumeRecord,
} from "../../namespace/model.ts";
import { operation, result } from "../../namespace/operation.ts";
import { method } from "../method.ts";

// --- sessions ---

/** Opens a session on a volume, or finds the one that this client already has (P4). Errors: notFound, busy. */
export const openSession = method(
  100,
  "leader.openSession",
  struct({ clientId: text(64), volume: text(64), host: text(256) }),
  struct({
    session: u64,
    /** The last transaction of the session that took effect: the client drops what it has up to here after `resend`. */
    lastSequence: u64,
    volume: volumeRecord,
    /** The session ends this long after the sending of the last heartbeat that was acknowledged. */
    sessionTimeoutMs: u32,
  }),
);

export const leaseMode = oneOf("shared", "exclusive");
export type LeaseMode = Infer<typeof leaseMode>;

/**
 * After every (re)connect and before anything else: what the client holds. Replaces what the leader knew of it.
 * Errors: sessionExpired.
 */
export const stateHoldings = method(
  101,
  "leader.stateHoldings",
  struct({
    session: u64,
    /** Inodes with open handles. */
    holds: list(u64, 4_000_000),
    leases: list(struct({ inode: u64, mode: leaseMode, grant: u64 }), 4_000_000),
  }),
  nothing,
);

/** Keeps the session alive. Errors: sessionExpired. */
export const heartbeat = method(102, "leader.heartbeat", struct({ session: u64 }), nothing);

/** Ends the session: the client has given back everything. */
export const closeSession = method(103, "leader.closeSession", struct({ session: u64 }), nothing);

// --- the namespace ---

/**
 * Executes a transaction of the session: answered when it is in the ledger and applied. A resend (same sequence) gets
 * the same result. `hold`: the inode that it creates is held open by the session from the start.
 * Errors: sessionExpired; noSpace (the leader's disk is full) and invalid (a gap in the sequence; a change of data without
 * the exclusive lease): the transaction had no effect, and its number is free again.
 */
export const transact = method(
  110,
  "leader.transact",
  struct({ session: u64, sequence: u64, confirmed: u64, hold: boolean, operation }),
  struct({ result }),
);

/** An entry of a directory with its inode's attributes; undefined if there is none. FileError ENOENT, ENOTDIR. */
export const lookup = method(
  111,
  "leader.lookup",
  struct({ session: u64, parent: u64, name }),
  struct({ attributes: optional(attributes) }),
);

/** Also of an orphan that is held. FileError ENOENT. */
export const getAttributes = method(
  112,
  "leader.getAttributes",
  struct({ session: u64, inode: u64 }),
  struct({ attributes, parent: u64 }),
);

export const readLink = method(
  113,
  "leader.readLink",
  struct({ session: u64, inode: u64 }),
  struct({ target: byteString(targetBytesMax) }),
);

/** Most entries in one answer of readDirectory. */
export const directoryEntriesMax = 1000;

/**
 * Entries with a cookie above `after` (0: from the start), in the order of cookies, without `.` and `..`.
 * `withAttributes` fills them in. An empty list is the end.
 */
export const readDirectory = method(
  114,
  "leader.readDirectory",
  struct({ session: u64, directory: u64, after: u64, limit: u32, withAttributes: boolean }),
  struct({
    entries: list(
      struct({ name, inode: u64, type: fileType, cookie: u64, attributes: optional(attributes) }),
      directoryEntriesMax,
    ),
  }),
);

/** Holds an inode open. FileError ENOENT if it is gone. */
export const open = method(115, "leader.open", struct({ session: u64, inode: u64 }), struct({ attributes }));

/** The session's last handles of these inodes are closed. */
export const release = method(116, "leader.release", struct({ session: u64, inodes: list(u64, 65_536) }), nothing);

/** Sizes of the volume for statfs(2), in bytes; free space is what the volume can still take with all its replicas. */
export const statVolume = method(
  117,
  "leader.statVolume",
  struct({ session: u64 }),
  struct({ totalBytes: u64, freeBytes: u64, inodeCount: u64 }),
);

// --- data leases and groups ---

/** Most mappings in one answer of acquireLease or readMappings. */
export const mappingsPerReply = 4096;

/**
 * Takes the lease on an inode's data, after it was recalled from others. `grant` is the upper part of the versions that
 * an exclusive holder writes. The chunk map comes along as far as it fits. FileError ENOENT.
 *
 * A client asks only while it has no lease on the inode and all its releases are answered; an upgrade is a giving back and
 * a new taking. So what the leader thinks that it has was granted in an answer that was lost, and ends.
 */
export const acquireLease = method(
  120,
  "leader.acquireLease",
  struct({ session: u64, inode: u64, mode: leaseMode }),
  struct({
    grant: u64,
    attributes,
    mappings: list(mapping, mappingsPerReply),
    /** The first index that `mappings` does not speak of; 2^32 − 1 when it covers the whole file. */
    mappedBelow: u32,
  }),
);

/** Gives leases back; what was done under them is finished. */
export const releaseLeases = method(
  121,
  "leader.releaseLeases",
  struct({ session: u64, inodes: list(u64, 65_536) }),
  nothing,
);

/** The part of a file's chunk map from `from` on, under its lease. */
export const readMappings = method(
  122,
  "leader.readMappings",
  struct({ session: u64, inode: u64, from: u32 }),
  struct({ mappings: list(mapping, mappingsPerReply), mappedBelow: u32 }),
);

export const groupView = struct({
  group: u16,
  generation: u32,
  members: list(struct({ store: u32, state: memberState, address: text(256) }), 16),
});
/** Members of a group with their addresses, as of a generation. */
export type GroupView = Infer<typeof groupView>;

/** All groups, or those named. Sent by clients that meet a generation which they don't know. */
export const readGroups = method(
  123,
  "leader.readGroups",
  struct({ groups: list(u16, 8192) }),
  struct({ views: list(groupView, 8192) }),
);

/**
 * A client could not write to or read from a store: a hint. Answered when the leader has either taken the store out of
 * its groups or reached it itself; the client then reads the groups again.
 */
export const reportStore = method(
  124,
  "leader.reportStore",
  struct({ session: u64, store: u32, reason: text(256) }),
  struct({ removed: boolean }),
);

// --- stores ---

/** A store presents itself. Its groups come back; it serves from now on, as long as heartbeats are answered. */
export const registerStore = method(
  130,
  "leader.registerStore",
  struct({
    serverId: text(64),
    address: text(256),
    /** For people and scripts: see ServerStatus. */
    pid: u32,
    roles: list(text(16), 4),
    totalBytes: u64,
    freeBytes: u64,
  }),
  struct({
    store: u32,
    views: list(groupView, 8192),
    /** Requests of sessions up to `sessionsBelow` (exclusive) that are not listed are refused: they are fenced. */
    liveSessions: list(u64, 65_536),
    sessionsBelow: u64,
    heartbeatMs: u32,
    /** A store serves this long after the sending of the last heartbeat that was answered. */
    serveMs: u32,
  }),
);

export const storeHeartbeat = method(
  131,
  "leader.storeHeartbeat",
  struct({
    store: u32,
    totalBytes: u64,
    freeBytes: u64,
    /** Blocks found bad since the store was made. */
    badBlocks: u64,
    /** Set when the disk has failed: the store steps down. */
    failure: optional(text(256)),
  }),
  nothing,
);

/** A catch-up that the leader started is finished: the member has what the source has. */
export const caughtUp = method(132, "leader.caughtUp", struct({ store: u32, group: u16, generation: u32 }), nothing);

// --- what the leader asks of clients ---

/**
 * The client must give the lease back with releaseLeases, once what is under way is finished. Answered at once; sent again
 * until it has happened. It may overtake the answer that grants the lease. One that has no lease gives back all the same.
 */
export const recallLease = method(140, "client.recallLease", struct({ inode: u64 }), nothing);

/** Groups have changed. Answered at once. */
export const groupsChanged = method(141, "client.groupsChanged", struct({ views: list(groupView, 8192) }), nothing);

/** The session was ended by the leader (volume deleted, administrator). */
export const sessionEnded = method(
  142,
  "client.sessionEnded",
  struct({ session: u64, reason: text(256), atNs: i64 }),
  nothing,
);
