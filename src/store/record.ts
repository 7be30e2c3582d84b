/**
 * What the store writes into its log: one record for each change, described here; the data of written blocks follows as
 * the record's payload; without one they are zeros. Replaying the records in order onto the state of a checkpoint gives the
 * state again, so whatever decides what a record does is in the record or in the state, never in time, connections or sessions.
 */
import { boolean, decode, type Infer, list, optional, struct, u8, u16, u32, u64, union } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { blocksPerChunk } from "../namespace/model.ts";
import { groupView } from "../wire/catalogue/leader.ts";
import { lostRange, lostRangesMax, version } from "../wire/catalogue/store.ts";

/** Grows when the bytes of a record change their meaning, or when there are new kinds: 2 knows all of 1, and move and share; 3 lose; 4 blocks without data. */
export const recordFormat = 4;

const recordFormatOldest = 1;

/** Who wrote a block, and when: two blocks with the same stamp came with the same request (or its retry). */
export const stamp = struct({
  version,
  /** Generation of the group in which the write was admitted. */
  generation: u32,
  /** Session that wrote it; 0: copied from another member. */
  session: u64,
});
export type Stamp = Infer<typeof stamp>;

const blocks = { chunk: u64, firstBlock: u16, stamp, origin: u64, checksums: list(u32, blocksPerChunk) };

export const record = union({
  /** A client's blocks. Each takes the place of a lower version. */
  write: struct(blocks),
  /**
   * Blocks copied from another member. Each takes the place of nothing, of a lower version, or of exactly `expected`:
   * a live write that came between wins.
   */
  replace: struct({ ...blocks, expected: optional(stamp) }),
  /** Takes blocks away that have exactly the stamp `expected`. */
  discard: struct({ chunk: u64, firstBlock: u16, blockCount: u16, expected: stamp }),
  /**
   * `chunk` shares the first blocks of `source`. `tolerant`: an unknown source counts as empty (the copy is not complete
   * yet and a catch-up will come by).
   */
  clone: struct({ chunk: u64, source: u64, blockCount: u16, generation: u32, session: u64, tolerant: boolean }),
  /** Chunks and all their blocks go. */
  delete: struct({ chunks: list(u64, 4096) }),
  /** A chunk goes if it has no blocks left and was made before `generation`, or by `session`. */
  deleteEmpty: struct({ chunk: u64, generation: u32, session: u64 }),
  /** The store's view of these groups from here on. */
  groups: struct({ views: list(groupView, 8192) }),
  /** Compaction: where the chunk still has exactly these blocks, they lie here from now on. */
  move: struct(blocks),
  /** Compaction: where both have the same blocks, `chunk` has them at `source`'s place from now on. */
  share: struct({ chunk: u64, source: u64, firstBlock: u16, blockCount: u16 }),
  /** What of these ranges isn't here was lost with those who had it: an error for readers until it is written anew. */
  lose: struct({ generation: u32, ranges: list(lostRange, lostRangesMax) }),
});
export type StoreRecord = Infer<typeof record>;
export type RecordOf<K extends StoreRecord["kind"]> = Extract<StoreRecord, { kind: K }>;

/** The bytes in front of each record. */
export const recordDescriptor = struct({ format: u8, record });

/** Errors: versionMismatch; CodecError for bytes that are no record. */
export function decodeRecord(descriptor: Uint8Array): StoreRecord {
  const { format, record } = decode(recordDescriptor, descriptor);
  if (format >= recordFormatOldest && format <= recordFormat) return record;
  throw new BrineError("versionMismatch", `the store's log has records of format ${format}, known is ${recordFormat}`, {
    advice: "start the server with the version of brinefs that wrote them, or a newer one",
  });
}
