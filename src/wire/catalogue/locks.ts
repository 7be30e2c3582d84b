/**
 * Advisory locks: what clients ask of the metadata leader, and what it tells them. Numbers 150–159 of the leader's.
 *
 * The leader has all locks of a volume but those that a client sets by itself: it may, while it has an exclusive lease that
 * came without `foreignLocks` (leasedInode), or is `alone` since. Before it gives the lease back it states them. So who is
 * answered `leased` takes the shared lease, and asks again.
 *
 * Owners are numbered by their session, each one (of one kind) with a number of its own while it has or waits for anything.
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
  u32,
  u64,
} from "../../codec/schema.ts";
import { method } from "../method.ts";

/** fcntl(2), for processes and open file descriptions alike; flock(2). They don't see each other. */
export const lockKind = oneOf("posix", "flock");
export type LockKind = Infer<typeof lockKind>;

export const lockMode = oneOf("shared", "exclusive");

const range = {
  /** First and last byte: 0 to 2^63 − 1. */
  start: i64,
  end: i64,
};
const owner = {
  kind: lockKind,
  owner: u64,
  /** The process that asks, for F_GETLK and for people. */
  pid: u32,
};

/** A lock of somebody else that is in the way. */
export const lockConflict = struct({
  ...range,
  mode: lockMode,
  pid: u32,
  /** Of the same session; 0: of another one. */
  owner: u64,
  /** For people. */
  holder: text(256),
});
export type LockConflict = Infer<typeof lockConflict>;

const setLockAnswer = struct({
  outcome: oneOf("done", "conflict", "waiting", "deadlock", "full", "leased"),
  /** With `done`: when it was set. Later locks have higher numbers, leases too. */
  grant: u64,
  /** With `conflict` and `waiting`. */
  conflict: optional(lockConflict),
  alone: boolean,
});
export type SetLockAnswer = Infer<typeof setLockAnswer>;

/**
 * Sets a lock, in place of what the owner has there; without `mode` releases it. `wait`: 0, or a number that the session
 * has given to no other wait: `waiting` is then the answer when somebody is in the way, and `lockGranted` follows. The same
 * request may be sent again.
 *
 * With all other outcomes nothing was changed. `deadlock`: it doesn't wait (kind `posix`). `full`: too many locks. `leased`:
 * another client may have locks under its exclusive lease.
 *
 * `alone`: no other session has a lock or lease on the inode, waits for a lock, or has asked for one lately.
 * Errors: sessionExpired.
 */
export const setLock = method(
  150,
  "leader.setLock",
  struct({ session: u64, inode: u64, ...owner, ...range, mode: optional(lockMode), wait: u64 }),
  setLockAnswer,
);

/** The lock that is in the way of such a one. `leased`: see setLock. Errors: sessionExpired. */
export const testLock = method(
  151,
  "leader.testLock",
  struct({ session: u64, inode: u64, ...owner, ...range, mode: lockMode }),
  struct({ conflict: optional(lockConflict), leased: boolean }),
);

/** Ends a wait. False: there is none; it was granted, and `lockGranted` is on its way. */
export const cancelLock = method(
  152,
  "leader.cancelLock",
  struct({ session: u64, wait: u64 }),
  struct({ cancelled: boolean }),
);

/** A lock that is held. */
export const heldLock = struct({
  inode: u64,
  ...owner,
  ...range,
  mode: lockMode,
  /** When it was set. Where two say what can't be, the lower one was changed since, and its session hasn't heard of it. */
  grant: u64,
});
export type HeldLock = Infer<typeof heldLock>;

/** Most locks in a volume: a GB at most at the leader, for what is next to nothing elsewhere. */
export const locksMax = 262_144;

/** All locks that the session has on an inode, in place of what the leader knew. What waits goes on waiting. */
export const stateLocks = method(
  153,
  "leader.stateLocks",
  struct({ session: u64, inode: u64, locks: list(heldLock, locksMax) }),
  nothing,
);

/** A lock for which the session waits was set. Lost with its connection: then the client asks again. */
export const lockGranted = method(154, "client.lockGranted", struct({ wait: u64, grant: u64 }), nothing);
