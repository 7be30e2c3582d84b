/** Rows that only the namespace itself sees, and how a row is decoded. */
import { CodecError } from "../codec/buffers.ts";
import { bytes, type Codec, decode, type Infer, list, struct, u16, u32, u64 } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { fileType, inodeGrantMax, name } from "./model.ts";

/** Version of everything in the state. Another one is refused; 1 and 2 were never released. */
export const formatVersion = 5;
export const formatRow = struct({ version: u32 });

/** Counters; written once a batch. */
export const headerRow = struct({
  /** Index of the last batch that was applied. */
  appliedIndex: u64,
  /** Inode numbers are never used twice in a cluster, whatever the volume. */
  nextInode: u64,
  nextSession: u64,
  nextVolume: u32,
  nextStore: u32,
  nextGroup: u32,
  /** Chunks in the list of deletions, and unused ones in retired grants. */
  chunksToDelete: u64,
});
export type Header = Infer<typeof headerRow>;

/** An entry, found by directory and cookie: all that a listing without attributes shows. */
export const cookieRow = struct({ inode: u64, type: fileType, name });

export const ownerRow = struct({ volume: u16, inode: u64, index: u32 });
export type Owner = Infer<typeof ownerRow>;

/** Numbers [first, first + count). `used` has a bit for each of them, lowest first. */
export const grantRow = struct({ first: u64, count: u32, used: bytes(inodeGrantMax / 8) });

/** Cookie of the entry of a directory that was counted last. */
export const countingRow = struct({ after: u64 });

export const chunkRow = struct({ chunk: u64 });
export const volumeRow = struct({ volume: u16 });
export const groupRow = struct({ group: u16 });
/** Members of a group that are not in sync, and the last generation in which they were. */
export const lastInSyncRow = struct({ members: list(struct({ store: u32, generation: u32 }), 16) });
export type LastInSync = Infer<typeof lastInSyncRow>["members"];

/** The value of a row, whose key is there for the message. Throws BrineError internal if the bytes are damaged. */
export function decodeRow<T>(codec: Codec<T>, row: Uint8Array, key: Uint8Array): T {
  try {
    return decode(codec, row);
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    const where = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("hex");
    throw new BrineError("internal", `the namespace's state is damaged at key ${where}: ${cause.message}`, {
      cause,
      advice: "the state is a checkpoint of the ledger: restore both from the other metadata server or a backup",
    });
  }
}
