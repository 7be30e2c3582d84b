/**
 * What clients, the leader and other stores ask of a store. Numbers 200–299.
 *
 * A store knows groups with a generation, chunks, blocks and their versions; nothing of files. Errors of all of them:
 * notServing (cut off from the leader, or not registered yet), wrongGeneration, sessionFenced, diskFailed.
 */
import { boolean, type Infer, list, nothing, oneOf, struct, text, u16, u32, u64 } from "../../codec/schema.ts";
import { blocksPerChunk } from "../../namespace/model.ts";
import { method } from "../method.ts";
import { groupView } from "./leader.ts";

/**
 * Version of a block: the writer's exclusive grant, and a number that the writer counts up under it.
 * Ordered by grant, then sequence. A retry of a write has the version of the first try.
 */
export const version = struct({ grant: u64, sequence: u64 });
export type Version = Infer<typeof version>;

export function compareVersions(left: Version, right: Version): number {
  return left.grant - right.grant || left.sequence - right.sequence;
}

const target = { session: u64, group: u16, generation: u32, chunk: u64 };

/** Most parts of one write. */
export const writePartsMax = 1024;

/** Whole blocks of one chunk that lie one after the other. `checksums` are made by the writer (see checksum.ts). */
export const writePart = struct({ chunk: u64, firstBlock: u16, version, checksums: list(u32, blocksPerChunk) });
export type WritePart = Infer<typeof writePart>;

/** What a single part of a write can fail of, while the others are written. */
export const partFailure = struct({
  /** Its position in the list of parts. */
  part: u16,
  /**
   * noSpace; badChecksum: damaged on the way; superseded: a block has a newer version of another grant; invalid: beyond the
   * chunk's end.
   */
  code: oneOf("noSpace", "badChecksum", "superseded", "invalid"),
  reason: text(256),
});
export type PartFailure = Infer<typeof partFailure>;

/**
 * Writes blocks of chunks of one group, as a rule in one commit, and is answered when they are on disk, with the parts that
 * were not written. The payload has the blocks of all parts one after the other. A block that has an equal version already
 * is acknowledged; one with a higher version of the same grant too.
 *
 * A writer counts only acknowledgements of one generation: when it changes, the write goes to all members again. A member
 * that catches up can tell by that what is under way from what was left unfinished (store/comparison.ts).
 */
export const writeBlocks = method(
  200,
  "store.write",
  struct({
    session: u64,
    group: u16,
    generation: u32,
    parts: list(writePart, writePartsMax),
    /** What an application was told to be written, or what has to be put back: may use half of the store's reserve. */
    restores: boolean,
  }),
  struct({ failed: list(partFailure, writePartsMax) }),
);

/**
 * Blocks of a chunk that were written together: all have this version and origin.
 * `origin` is the chunk that the checksums were made for: the chunk itself, or the one it was cloned from.
 */
export const extent = struct({
  firstBlock: u16,
  version,
  origin: u64,
  checksums: list(u32, blocksPerChunk),
});
export type Extent = Infer<typeof extent>;

/**
 * Reads blocks. Holes are left out; the payload holds the blocks of all extents one after the other.
 * Errors: unknownChunk (no write or clone has ever reached it here), diskFailed.
 */
export const readBlocks = method(
  201,
  "store.read",
  struct({ ...target, firstBlock: u16, blockCount: u16 }),
  struct({ extents: list(extent, blocksPerChunk) }),
);

/**
 * Makes `chunk` share the first `blockCount` blocks of `source` (of the same group) and nothing else; 0 makes an empty
 * chunk. Acknowledged if it was done before. Errors: unknownChunk, noSpace.
 */
export const cloneChunk = method(202, "store.clone", struct({ ...target, source: u64, blockCount: u16 }), nothing);

/** Which blocks of a chunk have data, in order; the others are holes: never written, or zeros. Errors: unknownChunk. */
export const findStored = method(
  204,
  "store.findStored",
  struct(target),
  struct({ ranges: list(struct({ firstBlock: u16, blockCount: u16 }), blocksPerChunk) }),
);

/** A reader got these blocks with a wrong checksum: the store looks itself, counts them and tells the leader. */
export const reportBad = method(
  203,
  "store.reportBad",
  struct({ ...target, firstBlock: u16, blockCount: u16 }),
  nothing,
);

// --- by the leader ---

/**
 * Groups of this store as of now; a group with a higher generation than known replaces it. Durable when answered. What it has of a
 * group without it is given up.
 */
export const setGroups = method(210, "store.setGroups", struct({ views: list(groupView, 8192) }), nothing);

/**
 * The store serves these groups no more in the generations given: the next ones will be without it. It forgets this when it
 * registers anew.
 */
export const leaveGroups = method(
  215,
  "store.leaveGroups",
  struct({ groups: list(struct({ group: u16, generation: u32 }), 8192) }),
  nothing,
);

/** No request of the session is accepted any more; those under way are finished when this is answered. */
export const fenceSession = method(211, "store.fenceSession", struct({ session: u64 }), nothing);

/** Removes chunks; unknown ones are skipped. Durable when answered. */
export const deleteChunks = method(212, "store.deleteChunks", struct({ chunks: list(u64, 4096) }), nothing);

/**
 * Makes this member's copy of the group equal to that of the in-sync member at `source`: discards what that one doesn't
 * have, copies what is missing or differs, while live writes go on. Answered at once; the end is leader.caughtUp.
 */
export const catchUp = method(
  213,
  "store.catchUp",
  struct({ group: u16, generation: u32, source: text(256) }),
  nothing,
);

/**
 * The same for some chunks, after a writer died and was fenced at all members: answered when the chunks are equal. Asked
 * of in-sync members and of those that catch up, since these may have compared the chunks already.
 */
export const equalize = method(
  214,
  "store.equalize",
  struct({ group: u16, generation: u32, source: text(256), chunks: list(u64, 4096), all: boolean }),
  struct({ copiedBlocks: u64 }),
);

/**
 * Reads everything at once, instead of when it comes round: checks, compares with other members, repairs. `groups`: of these
 * only; empty: of all. Answered when it is noted: it goes on after a restart. Heartbeats say how far it is.
 */
export const scrubStore = method(216, "store.scrub", struct({ groups: list(u16, 8192) }), nothing);

/** Most ranges of one `loseBlocks`. */
export const lostRangesMax = 1024;

export const lostRange = struct({ chunk: u64, firstBlock: u16, blockCount: u16 });
export type LostRange = Infer<typeof lostRange>;

/**
 * The group is to go on with what this member has, as all others who had more are gone for good. What it doesn't have of these ranges is
 * lost: reading it is an error, until it is written anew. Durable when answered. The member is catching up, with nobody in sync.
 */
export const loseBlocks = method(
  217,
  "store.lose",
  struct({ group: u16, generation: u32, ranges: list(lostRange, lostRangesMax) }),
  nothing,
);

// --- between stores ---

/** Chunks of a group above `after`, in order, each with a digest of its blocks' versions and checksums. */
export const listChunks = method(
  220,
  "store.listChunks",
  struct({ group: u16, generation: u32, after: u64, limit: u32 }),
  struct({ chunks: list(struct({ chunk: u64, digest: u32 }), 4096) }),
);

/** Blocks that were written together, with who wrote them: `generation` and `session` as admitted; session 0: copied from a member. */
export const stampedExtent = struct({
  firstBlock: u16,
  version,
  origin: u64,
  checksums: list(u32, blocksPerChunk),
  generation: u32,
  session: u64,
});
export type StampedExtent = Infer<typeof stampedExtent>;

/** A block that the store can't read, or that has a wrong checksum, and the version that it should have. */
export const badBlock = struct({ chunk: u64, firstBlock: u16, version });
export type BadBlock = Infer<typeof badBlock>;

/** Most blocks of one `listBad`. */
export const badBlocksMax = 512;

/**
 * What a member in sync has bad of the group, as far as it knows: the first ones; and the group as it knows it, in `generation` or a later
 * one. Asked by a store that was a member before. Errors: wrongGeneration (it knows only an earlier one).
 */
export const listBad = method(
  222,
  "store.listBad",
  struct({ group: u16, generation: u32 }),
  struct({ view: groupView, blocks: list(badBlock, badBlocksMax) }),
);

/** The payload takes the place of such a block, if the block is bad still and the payload has its version and checksum. */
export const mendBlock = method(
  223,
  "store.mend",
  struct({ group: u16, generation: u32, chunk: u64, firstBlock: u16, version }),
  struct({ isMended: boolean }),
);

/** All extents of a chunk without their data. Errors: unknownChunk. */
export const listExtents = method(
  221,
  "store.listExtents",
  struct({ group: u16, generation: u32, chunk: u64 }),
  struct({ extents: list(stampedExtent, blocksPerChunk) }),
);
