/**
 * What clients and stores ask of the metadata leader, and what the leader asks of clients. Numbers 100–199.
 * Errors are BrineErrors; what an application gets as errno comes back inside results, or as FileError.
 */
import {
  boolean,
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
import { entryRecord, inodeRecord, mapping, memberState, name, placementRecord } from "../../namespace/model.ts";
import { operation, result } from "../../namespace/operation.ts";
import { method } from "../method.ts";
import { leaderAddresses, ledgerProgress } from "./handshake.ts";
import { heldLock } from "./locks.ts";
import { heldQuota, heldQuotasMax } from "./quotas.ts";

// --- sessions ---

/** Split: for several clients that work on the data of one file; see acquireLease. */
export const leaseMode = oneOf("shared", "exclusive", "split");
export type LeaseMode = Infer<typeof leaseMode>;

/** Leases, holds, and advisory locks, in one message of stateHoldings. */
export const statedMax = 16_384;

/**
 * After every (re)connect and before anything else: what the client holds, in as many messages as it takes. With the
 * `last` one it replaces what the leader knew of it. Leases on what the client has created and the leader hasn't heard of
 * yet are among them. Errors: sessionExpired.
 */
export const stateHoldings = method(
  101,
  "leader.stateHoldings",
  struct({
    session: u64,
    /** When it was made, by the client's monotonic clock (µs). One that was made earlier than the last is refused: `closed`. */
    madeUs: u64,
    first: boolean,
    last: boolean,
    /** Inodes with open handles. */
    holds: list(u64, statedMax),
    leases: list(struct({ inode: u64, mode: leaseMode, grant: u64 }), statedMax),
    locks: list(heldLock, statedMax),
    /** With the first message. */
    quotas: list(heldQuota, heldQuotasMax),
  }),
  struct({
    /** Of the volume: if it is new to the client, it asks again for all accounts without limits. */
    quotaVersion: u32,
    /** Where leader and copy are; empty: only here. What earlier leaders named counts no more. */
    leaders: leaderAddresses,
  }),
);

/** Keeps the session alive. Errors: sessionExpired. */
export const heartbeat = method(
  102,
  "leader.heartbeat",
  struct({ session: u64 }),
  struct({
    nowNs: i64,
    /** The leader's disk is nearly full: changes are to be answered only when they are committed. */
    writeThrough: boolean,
    /** And as in stateHoldings. */
    ...ledgerProgress,
    leaders: leaderAddresses,
  }),
);

// --- the namespace ---

/** Most transactions in one message. */
export const batchMax = 1024;

/**
 * Executes transactions of the session, numbered from `first` on, in order: answered when they are in the ledger and
 * applied. A resend gets the same results.
 *
 * `timeNs`: a *predicted* transaction, which the client has executed under its leases at this time and answered already.
 * Executed at the same time by the same rules it has the same result, so a success comes back as `done` and isn't kept.
 * Without it the time is the leader's.
 *
 * A create gives its session the exclusive lease (openSession's coverGrant) on the new inode.
 *
 * Errors: sessionExpired. `refused` says why the transactions behind the last result had no effect: noSpace (the leader's
 * disk is full), invalid (a gap in the sequence; a change without the exclusive lease), busy. Their numbers are free again.
 */
export const transact = method(
  110,
  "leader.transact",
  struct({
    session: u64,
    first: u64,
    confirmed: u64,
    transactions: list(struct({ timeNs: optional(i64), operation }), batchMax),
  }),
  struct({ results: list(result, batchMax), refused: optional(struct({ code: text(32), reason: text(256) })) }),
);

// --- leases ---
//
// Everything that a client reads of the namespace it reads under a lease on the inode in question: attributes, the names
// in a directory, the chunk map of a file. So the answers that grant a lease bring what it covers. A lease is also a hold:
// while any session has one, the inode is not reaped.

/** Most mappings in one answer about an inode. */
export const mappingsPerReply = 4096;

/** A lease and what it covers. */
export const leasedInode = struct({
  /** Upper part of the versions that an exclusive holder writes; names the lease in recalls and releases. */
  grant: u64,
  mode: leaseMode,
  record: inodeRecord,
  /** A file's chunk map as far as it fits, and the first index that it does not speak of; 2^32 − 1: it is complete. */
  mappings: list(mapping, mappingsPerReply),
  mappedBelow: u32,
  /** Others have advisory locks on the inode, or want some: with an exclusive lease, too, the leader is asked for them. */
  foreignLocks: boolean,
  /** Of a lease on a chunk: the grant of the split lease under which it stands. Else 0. */
  within: u64,
});
export type LeasedInode = Infer<typeof leasedInode>;

/**
 * Takes the lease on an inode, after it was recalled from others that are in the way. `held`: the grant that the client
 * has now, or 0. A client that holds the shared lease and wants the exclusive one keeps the shared one while it waits,
 * unless that is recalled too.
 *
 * If the leader has a lease of the session with another grant (its answer is on its way or lost, or its release is on its
 * way), that one is converted when the request's turn has come; the answer may then bring more than was asked for.
 *
 * `forData`: the split lease does as well. Under it the file's size stands still; its attributes and data are not known by it.
 * Data is read and written under leases on chunks, which are asked for here, too: instead of an inode's, their number is
 * that of namespace/chunk-leases.ts. The answer's record is the file's with this number, and its mappings that of the chunk.
 * They end with the split lease. `busy` without it. FileError ENOENT.
 */
export const acquireLease = method(
  120,
  "leader.acquireLease",
  struct({ session: u64, inode: u64, mode: leaseMode, held: u64, forData: boolean }),
  leasedInode,
);

/** Most inodes in one acquireLeases. */
export const acquiredMax = 512;

/**
 * Takes leases on many inodes at once, those that can be had soon. With `recall` all holders in the way are recalled together,
 * and after at most 50 ms the answer has what was given back by then; else it has, at once, what nobody else was using.
 * Inodes on which the session has a lease already, and those that are gone, are left out.
 */
export const acquireLeases = method(
  125,
  "leader.acquireLeases",
  struct({ session: u64, mode: leaseMode, inodes: list(u64, acquiredMax), recall: boolean }),
  struct({ leases: list(leasedInode, acquiredMax) }),
);

/**
 * Gives leases back, or down to shared; what was done under them is committed. `hold`: the inode has open handles here, and
 * stays when it loses its last name, until `release`. Leases that the session doesn't have with this grant are skipped.
 */
export const releaseLeases = method(
  121,
  "leader.releaseLeases",
  struct({
    session: u64,
    leases: list(struct({ inode: u64, grant: u64, keepShared: boolean, hold: boolean }), 16_384),
  }),
  nothing,
);

/** The session's last handles of these inodes, on which it has no lease, are closed. */
export const release = method(116, "leader.release", struct({ session: u64, inodes: list(u64, 65_536) }), nothing);

/** The part of a file's chunk map from `from` on, under its lease. */
export const readMappings = method(
  122,
  "leader.readMappings",
  struct({ session: u64, inode: u64, from: u32 }),
  struct({ mappings: list(mapping, mappingsPerReply), mappedBelow: u32 }),
);

/**
 * A name in a directory, under at least the shared lease of the directory: taken first (and brought) if `held` is 0. If the
 * session has it under another grant than `held`, it is brought as it is, under a third one, without waiting for anybody.
 * `child`: its shared lease, if the session has none and it can be had at once.
 * FileError ENOENT (the directory is gone), ENOTDIR.
 */
export const lookup = method(
  111,
  "leader.lookup",
  struct({ session: u64, parent: u64, held: u64, name }),
  struct({ parent: optional(leasedInode), entry: optional(entryRecord), child: optional(leasedInode) }),
);

/** Most entries in one answer of readDirectory. */
export const directoryEntriesMax = 1000;

/**
 * Entries with a cookie above `after` (0: from the start), in the order of cookies, under at least the shared lease of the
 * directory, as in lookup. `withLeases`: brings the shared leases of their inodes that the session doesn't have and that
 * can be had at once. Fewer than `limit`: there are no more.
 */
export const readDirectory = method(
  114,
  "leader.readDirectory",
  struct({ session: u64, directory: u64, held: u64, after: u64, limit: u32, withLeases: boolean }),
  struct({
    parent: optional(leasedInode),
    entries: list(struct({ name, entry: entryRecord, child: optional(leasedInode) }), directoryEntriesMax),
  }),
);

/**
 * Sizes for statfs(2) of an inode, in bytes: of the directory with a quota in which it is, else of the volume; free space is what can
 * still be taken with all replicas. `freeInodes`: where there is a limit.
 */
export const statVolume = method(
  117,
  "leader.statVolume",
  struct({ session: u64, inode: u64 }),
  struct({ totalBytes: u64, freeBytes: u64, inodeCount: u64, freeInodes: optional(u64) }),
);

// --- space and groups ---

const groupBytes = struct({ group: u16, bytes: u64 });

/**
 * Space for write-back: each member of the group keeps so many bytes free for the session. `used`: what it has written of
 * earlier grants, durable on all members. `returned`: what it doesn't need. Less than wanted, down to nothing, is granted
 * as space falls; the client then writes through.
 */
export const grantSpace = method(
  126,
  "leader.grantSpace",
  struct({
    session: u64,
    used: list(groupBytes, 8192),
    returned: list(groupBytes, 8192),
    wanted: list(groupBytes, 8192),
  }),
  struct({ granted: list(groupBytes, 8192) }),
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

// --- where files go ---

const placementAnswer = struct({
  placement: placementRecord,
  groups: list(struct({ group: u16, pool: u16, inSyncMin: u8 }), 8192),
  slowStores: list(u32, 1024),
});
export type PlacementAnswer = Infer<typeof placementAnswer>;

/**
 * The placement rules of the session's volume, the pool of each of its groups, and how few members in sync that takes writes with.
 * `slowStores`: those that an operator calls so.
 */
export const readPlacement = method(127, "leader.readPlacement", struct({ session: u64 }), placementAnswer);

/** Most directories above each other that an answer names. */
export const pathStepsMax = 4096;

/**
 * A directory and those above it up to the root, which is not among them, as far as is committed: which entry of `parent` each is.
 * FileError ENOENT (the leader doesn't know it, or it has no name).
 */
export const readPath = method(
  128,
  "leader.readPath",
  struct({ session: u64, inode: u64 }),
  struct({ steps: list(struct({ inode: u64, parent: u64, cookie: u64, name }), pathStepsMax) }),
);

// --- what the leader asks of clients ---

/**
 * Somebody has a handle of an inode that the leader doesn't know, and that the client may have made. Answered when what it has made
 * of it is committed; at once if it has not.
 */
export const commitInode = method(145, "client.commitInode", struct({ inode: u64 }), nothing);

/**
 * The client must give these leases back, or down to shared where others want that much, once what is under way is
 * finished and what was changed under them is committed. Answered at once; sent again each second until it has happened.
 *
 * It may overtake the answer that grants the lease, but by far less than a second. So a grant that the client doesn't have
 * is remembered at the first time, and given back like one that it has at the second time on the same connection: its
 * answer came when nobody waited for it any more, and only the leader knows of the lease.
 * `space`: grants of space are to be given back, too.
 */
export const recallLeases = method(
  140,
  "client.recallLeases",
  struct({ leases: list(struct({ inode: u64, grant: u64, wanted: leaseMode }), 16_384), space: boolean }),
  nothing,
);

/** Groups have changed. Answered at once. */
export const groupsChanged = method(141, "client.groupsChanged", struct({ views: list(groupView, 8192) }), nothing);

/** What `readPlacement` answers has changed. Answered when the client has read it. */
export const placementChanged = method(143, "client.placementChanged", nothing, nothing);

/** What stateHoldings and registerStore answer of leader and copy has changed. Asked of stores, too. Answered at once. */
export const leadersChanged = method(144, "client.leadersChanged", struct({ leaders: leaderAddresses }), nothing);

/** The session was ended by the leader (volume deleted, administrator). */
export const sessionEnded = method(
  142,
  "client.sessionEnded",
  struct({ session: u64, reason: text(256), atNs: i64 }),
  nothing,
);
