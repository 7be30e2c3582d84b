/** Writes blocks into the log: what clients send, and what other members have. */
import { BrineError } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import { verifyBlocks } from "../wire/checksum.ts";
import { type BlockWrite, checkRange, checksumOfData } from "./block-write.ts";
import { overlapping, type StoredExtent, standing } from "./extents.ts";
import type { RecordOf, StoreRecord } from "./record.ts";
import { isNewer, type Outcome, type State } from "./state.ts";
import { cutAtZeros, type Piece } from "./zeros.ts";

export interface BlockWriterParts {
  readonly state: State;
  /** Resolves when the record is durable and applied. Errors: noSpace, diskFailed. */
  readonly append: (record: StoreRecord, payload?: Uint8Array, payloadChecksum?: number) => Promise<Outcome>;
  /** Errors: noSpace. `restoredBytes`: of a write that must not wait for room. */
  readonly checkRoom: (restoredBytes?: number) => void;
}

export type Replacement = Omit<RecordOf<"replace">, "kind">;

export interface Trust {
  /** The blocks have their checksums. */
  readonly isGood: boolean;
  /** What they take the place of is bad: they find room where others don't (DiskRoom.takesRestored). */
  readonly restores?: boolean;
}

type BlockRecord = RecordOf<"write"> | RecordOf<"replace">;

export class BlockWriter {
  readonly #parts: BlockWriterParts;
  /** Writes that are not applied yet, so that a retry waits for the first try instead of being written again. */
  readonly #writing = new Map<string, Promise<Outcome>>();

  constructor(parts: BlockWriterParts) {
    this.#parts = parts;
  }

  /** Errors: noSpace, badChecksum, superseded, invalid, diskFailed. */
  async write(write: BlockWrite, payload: Uint8Array): Promise<void> {
    const { chunk, firstBlock, version, checksums } = write;
    checkRange(firstBlock, checksums.length, payload.byteLength);
    const bad = verifyBlocks(payload, chunk, firstBlock, version, checksums);
    if (bad !== -1) {
      throw new BrineError("badChecksum", `block ${firstBlock + bad} of chunk ${chunk} was damaged on its way`);
    }
    const stamp = { version, generation: write.generation, session: write.session };
    const known = this.#knownOutcome(chunk, firstBlock, checksums.length, stamp);
    const outcome =
      known ??
      (await this.#writeOnce(
        { kind: "write", chunk, firstBlock, stamp, origin: chunk, checksums },
        payload,
        write.restores,
      ));
    if (outcome === "superseded") {
      throw new BrineError(
        "superseded",
        `chunk ${chunk} has newer blocks than version ${version.grant}.${version.sequence}`,
      );
    }
  }

  /** See `replace` in record.ts. Errors: noSpace, invalid, diskFailed. */
  async replace(replace: Replacement, payload: Uint8Array, { isGood, restores = false }: Trust): Promise<void> {
    checkRange(replace.firstBlock, replace.checksums.length, payload.byteLength);
    this.#parts.checkRoom(restores ? payload.byteLength : undefined);
    const record: BlockRecord = { kind: "replace", ...replace };
    if (isGood) await this.#append(record, payload, cutAtZeros(payload));
    else await this.#parts.append(record, payload);
  }

  /** What would become of the write as far as durable blocks say; undefined if only the log's order can tell. */
  #knownOutcome(
    chunk: number,
    firstBlock: number,
    blockCount: number,
    stamp: StoredExtent["stamp"],
  ): Outcome | undefined {
    const state = this.#parts.state.index.get(chunk);
    if (state === undefined) return undefined;
    let decidedBlocks = 0;
    let outcome: Outcome = "done";
    for (const present of overlapping(state.extents, firstBlock, firstBlock + blockCount)) {
      const found = standing(present.stamp.version, stamp.version);
      if (found === "superseded") outcome = "superseded";
      if (found === "lower" || (found === "same" && isNewer(stamp, present.stamp))) return undefined;
      decidedBlocks += present.checksums.length;
    }
    return decidedBlocks === blockCount ? outcome : undefined;
  }

  async #writeOnce(record: RecordOf<"write">, payload: Uint8Array, restores = false): Promise<Outcome> {
    const { chunk, firstBlock, stamp, checksums } = record;
    const { version } = stamp;
    const key = `${chunk}/${firstBlock}+${checksums.length}/${version.grant}.${version.sequence}/${stamp.generation}/${stamp.session}`;
    const before = this.#writing.get(key);
    if (before !== undefined) return before;
    const pieces = cutAtZeros(payload);
    const isPunch = pieces.every(({ isZeros }) => isZeros);
    // Zeros take only their record, and may give back a lot.
    this.#parts.checkRoom(isPunch ? blockBytes : restores ? payload.byteLength : undefined);
    const writing = this.#append(record, payload, pieces);
    this.#writing.set(key, writing);
    try {
      return await writing;
    } finally {
      this.#writing.delete(key);
    }
  }

  /** Blocks that have their checksums; zeros without data. All is appended in this turn; superseded if any of it is. */
  async #append(record: BlockRecord, payload: Uint8Array, pieces: readonly Piece[]): Promise<Outcome> {
    const { append } = this.#parts;
    const appending = pieces.map(({ from, to, isZeros }) => {
      const checksums = record.checksums.slice(from, to);
      const piece = { ...record, firstBlock: record.firstBlock + from, checksums };
      if (isZeros) return append(piece);
      return append(piece, payload.subarray(from * blockBytes, to * blockBytes), checksumOfData(piece));
    });
    let outcome: Outcome = "done";
    // The payload is the caller's again when nothing of it is under way, whatever became of the rest.
    for (const result of await Promise.allSettled(appending)) {
      if (result.status === "rejected") throw result.reason;
      if (result.value !== "done") outcome = result.value;
    }
    return outcome;
  }
}
