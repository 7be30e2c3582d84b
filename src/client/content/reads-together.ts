/**
 * Reads of small pieces for which nobody waits yet: what is asked for in one turn of the event loop (the beginnings of the files that
 * come next) goes in one request to each store, since a request costs client and store more than the few blocks that it brings.
 *
 * A piece that doesn't come so is read by itself, from any member (block-reader.ts): failures are judged and reported there.
 */
import { groupOfChunk } from "../../namespace/model.ts";
import type { GroupView } from "../../wire/catalogue/leader.ts";
import { readPartsMax, readTogetherBlocksMax } from "../../wire/catalogue/store.ts";
import type { Operation } from "../waits.ts";
import type { BlockReader, BlockSource, ChunkBlocks } from "./block-reader.ts";
import type { Members } from "./members.ts";
import type { StoreLink } from "./stores.ts";

interface Wanted extends ChunkBlocks {
  readonly operation: Operation;
  readonly outcome: PromiseWithResolvers<Uint8Array[]>;
}

type Placed = Wanted & { readonly view: GroupView };

/** Reads that one member is asked for together. */
interface Batch {
  readonly link: StoreLink;
  readonly reads: Placed[];
  blockCount: number;
}

export class ReadsTogether implements BlockSource {
  readonly #members: Members;
  readonly #reader: BlockReader;
  #wanted: Wanted[] = [];

  constructor(members: Members, reader: BlockReader) {
    this.#members = members;
    this.#reader = reader;
  }

  /** As `BlockReader.read`. */
  read(chunk: number, firstBlock: number, blockCount: number, operation: Operation): Promise<Uint8Array[]> {
    const outcome = Promise.withResolvers<Uint8Array[]>();
    this.#wanted.push({ chunk, firstBlock, blockCount, operation, outcome });
    if (this.#wanted.length === 1) void this.#sendSoon();
    return outcome.promise;
  }

  /** Never rejects. */
  async #sendSoon(): Promise<void> {
    await undefined; // what is asked for in this turn goes out together
    const wanted = this.#wanted;
    this.#wanted = [];
    const batches: Batch[] = [];
    for (const one of wanted) {
      const view = this.#members.groups.known(groupOfChunk(one.chunk));
      const link = view === undefined ? undefined : this.#members.readable(view)[0];
      if (view === undefined || link === undefined) this.#readAlone(one);
      else batchOf(batches, link, one.blockCount).reads.push({ ...one, view });
    }
    for (const batch of batches) void this.#send(batch);
  }

  /** Never rejects. */
  async #send({ link, reads }: Batch): Promise<void> {
    if (reads.length === 1) return this.#readAlone(reads[0]!);
    for (const { operation } of reads) operation.waitsFor = link.name;
    const results = await this.#reader.readTogether(link, reads).catch(() => []);
    for (const [index, one] of reads.entries()) {
      const pieces = results[index];
      if (pieces === undefined) this.#readAlone(one);
      else one.outcome.resolve(pieces);
    }
  }

  #readAlone({ chunk, firstBlock, blockCount, operation, outcome }: Wanted): void {
    this.#reader.read(chunk, firstBlock, blockCount, operation).then(outcome.resolve, outcome.reject);
  }
}

/** The member's last one that has room for so many blocks, or a new one; they are counted. */
function batchOf(batches: Batch[], link: StoreLink, blockCount: number): Batch {
  let batch = batches.findLast((one) => one.link === link);
  if (
    batch === undefined ||
    batch.reads.length === readPartsMax ||
    batch.blockCount + blockCount > readTogetherBlocksMax
  ) {
    batch = { link, reads: [], blockCount: 0 };
    batches.push(batch);
  }
  batch.blockCount += blockCount;
  return batch;
}
