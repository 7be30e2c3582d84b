/** What stores tell the leader: who they are, how they are, and that they have caught up. Numbers 130–139. */
import {
  boolean,
  type Infer,
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
import { label, labelsMax } from "../../namespace/model.ts";
import { method } from "../method.ts";
import { knownLedger, leaderAddresses, ledgerProgress } from "./handshake.ts";
import { groupView } from "./leader.ts";

/**
 * A store presents itself. Its groups come back; it serves from now on, as long as heartbeats are answered.
 * Errors: refused (it has lost data of which nobody else has a copy).
 */
export const registerStore = method(
  130,
  "leader.registerStore",
  struct({
    serverId: text(64),
    address: text(256),
    labels: list(label, labelsMax),
    /** Groups of which it knows a generation: the answer names those too in which it is no more. */
    knownGroups: list(u16, 8192),
    /** For people and scripts: see ServerStatus. */
    pid: u32,
    roles: list(text(16), 4),
    totalBytes: u64,
    freeBytes: u64,
    /**
     * What the store has lost of acknowledged data. `possible`: it compares itself with a member that is whole, if there is
     * one. `certain`: it is taken out of its groups; where it has the only copy, it is refused, unless that is `accepted`.
     */
    loss: oneOf("none", "possible", "certain", "accepted"),
    lossReason: text(512),
  }),
  struct({
    store: u32,
    /** What it has lost concerns nobody any more: it is in sync only where nobody knows better. */
    lossSettled: boolean,
    views: list(groupView, 8192),
    /** Requests of sessions up to `sessionsBelow` (exclusive) that are not listed are refused: they are fenced. */
    liveSessions: list(u64, 65_536),
    sessionsBelow: u64,
    heartbeatMs: u32,
    /** A store serves this long after the sending of the last heartbeat that was answered. */
    serveMs: u32,
    /** As in stateHoldings. */
    leaders: leaderAddresses,
  }),
);

/** Blocks of a chunk on one store. */
export const badRange = struct({ chunk: u64, firstBlock: u16, blockCount: u16 });
export type BadRange = Infer<typeof badRange>;
export const badRangesMax = 256;

/** How far a scrub is, or what the last one has found. */
export const scrubReport = struct({
  /** A person asked for it; else it is the regular one. */
  isOrdered: boolean,
  beganMs: u64,
  /** Wall clock; 0 while it is under way. */
  endedMs: u64,
  doneBytes: u64,
  totalBytes: u64,
  leftMs: u64,
  badBlocks: u64,
  /** Of the bad ones. */
  repairedBlocks: u64,
  /** Blocks that were missing, or older than another member's and not the same; they were taken from there. */
  differingBlocks: u64,
});
export type ScrubReport = Infer<typeof scrubReport>;

export const storeHeartbeat = method(
  131,
  "leader.storeHeartbeat",
  struct({
    store: u32,
    totalBytes: u64,
    freeBytes: u64,
    /** Blocks found bad since the store was made. */
    badBlocks: u64,
    /** Of those: a good copy has taken their place. */
    repairedBlocks: u64,
    /** Blocks that are bad now: the first ones. */
    badRanges: list(badRange, badRangesMax),
    /** Of the scrub that runs, or of the last one. */
    scrub: optional(scrubReport),
    /** Set when the disk has failed: the store steps down. */
    failure: optional(text(256)),
    /** Set when the disk no longer answers: the store serves nothing more until it has registered again. */
    stall: optional(text(64)),
    /** Its process is about to end: the store serves nothing more. */
    isLeaving: boolean,
    /** Of its disk lately, on the average; not set while it is idle. */
    diskLatencyMs: optional(u32),
    /** Catch-ups that run or wait: up to which number of the group's chunks they are, and what they have copied. */
    catchUps: list(struct({ group: u16, position: u64, copiedBytes: u64 }), 64),
  }),
  struct({
    ...ledgerProgress,
    leaders: leaderAddresses,
  }),
);

/**
 * A leader asks a store that isn't registered whom it knows: it may itself have an old copy of the metadata, at another address or
 * after others were led by the newer one.
 */
export const readKnownLedger = method(135, "store.readKnownLedger", nothing, knownLedger);

/**
 * What a store must know before it takes another member's word on a difference (store/scrub-comparison.ts). `mapped`: a file has
 * the chunk. `over`: all members are known to have the same of what the session wrote, for good.
 */
export const judgeDifferences = method(
  133,
  "leader.judgeDifferences",
  struct({ chunks: list(u64, 256), sessions: list(u64, 1024) }),
  struct({ mapped: list(boolean, 256), over: list(boolean, 1024) }),
);

/** A catch-up that the leader started is finished: the member has what the source has. */
export const caughtUp = method(132, "leader.caughtUp", struct({ store: u32, group: u16, generation: u32 }), nothing);
