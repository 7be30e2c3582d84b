/**
 * Reads blocks of one chunk from the best in-sync member and checks every one of them. A member that fails, lacks the
 * chunk or has a bad copy is passed over for the next; a bad copy is reported. Bytes whose checksum is wrong never get
 * out of this file. Only when every member has failed for good is the read an EIO.
 */
import { BrineError } from "../../errors/brine-error.ts";
import { FileError } from "../../errors/file-error.ts";
import { blockBytes, groupOfChunk } from "../../namespace/model.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Platform } from "../../platform/platform.ts";
import type { GroupView } from "../../wire/catalogue/leader.ts";
import { findStored, readBlocks, reportBad, type Version } from "../../wire/catalogue/store.ts";
import { verifyBlocks } from "../../wire/checksum.ts";
import { Backoff } from "../retry.ts";
import type { Session } from "../session.ts";
import type { Operation } from "../waits.ts";
import { kindOfFailure, type Members } from "./members.ts";
import type { StoreLink } from "./stores.ts";

/** Between rounds in which no member could answer. */
const retryDelayMsMax = 250;

/** Blocks that were written together, checked. What lies between extents is a hole. */
export interface CheckedExtent {
  readonly firstBlock: number;
  readonly version: Version;
  /** Whole blocks. */
  readonly data: Uint8Array;
}

export interface BlockRange {
  readonly firstBlock: number;
  readonly blockCount: number;
}

/** Why a member can't have the blocks; `isDamage`: it may have some of them. */
interface Failure {
  readonly reason: string;
  readonly isDamage: boolean;
}

/** The first of the blocks asked for of which no good copy is left: those before it can be read. */
export class LostBlock extends FileError {
  readonly chunk: number;
  readonly block: number;

  constructor(chunk: number, block: number) {
    super("EIO", `no good copy of block ${block} of chunk ${chunk}`);
    this.chunk = chunk;
    this.block = block;
  }
}

/** No member has all of the blocks, but one may have each. */
class NoWholeCopy extends Error {}

export class BlockReader {
  readonly #platform: Platform;
  readonly #log: Logger;
  readonly #session: Session;
  readonly #members: Members;

  constructor(platform: Platform, log: Logger, session: Session, members: Members) {
    this.#platform = platform;
    this.#log = log;
    this.#session = session;
    this.#members = members;
  }

  /** The blocks' bytes in order, zeros for holes. Errors: LostBlock; EIO (the session has ended). */
  async read(chunk: number, firstBlock: number, blockCount: number, operation: Operation): Promise<Uint8Array[]> {
    try {
      const extents = await this.#askSomewhere({ chunk, firstBlock, blockCount }, operation, (link, view) =>
        this.readFrom(link, view, chunk, firstBlock, blockCount),
      );
      return fillHoles(extents, firstBlock, blockCount);
    } catch (error) {
      if (!(error instanceof NoWholeCopy)) throw error;
    }
    // Each member has a bad block, but perhaps not the same one.
    const half = Math.ceil(blockCount / 2);
    const low = await this.read(chunk, firstBlock, half, operation);
    return [...low, ...(await this.read(chunk, firstBlock + half, blockCount - half, operation))];
  }

  /** From one member, as of this view. Errors: BrineErrors of the store and connection, badChecksum. */
  async readFrom(
    link: StoreLink,
    view: GroupView,
    chunk: number,
    firstBlock: number,
    blockCount: number,
  ): Promise<CheckedExtent[]> {
    const { group, generation } = view;
    const target = { session: this.#session.id, group, generation, chunk };
    const { body, payload } = await link.request(readBlocks, { ...target, firstBlock, blockCount });
    const extents: CheckedExtent[] = [];
    let position = 0;
    let next = firstBlock;
    for (const extent of body.extents) {
      const count = extent.checksums.length;
      const end = position + count * blockBytes;
      if (count === 0 || extent.firstBlock < next || extent.firstBlock + count > firstBlock + blockCount) {
        throw new BrineError("protocol", `${link.name} answered with blocks that were not asked for`);
      }
      if (end > payload.byteLength) throw new BrineError("protocol", `${link.name} answered with too few bytes`);
      const data = payload.subarray(position, end);
      const bad = verifyBlocks(data, extent.origin, extent.firstBlock, extent.version, extent.checksums);
      if (bad >= 0) {
        this.#reportBad(link, { ...target, firstBlock: extent.firstBlock + bad, blockCount: count - bad });
        throw new BrineError(
          "badChecksum",
          `block ${extent.firstBlock + bad} of chunk ${chunk} at ${link.name} is bad`,
        );
      }
      extents.push({ firstBlock: extent.firstBlock, version: extent.version, data });
      position = end;
      next = extent.firstBlock + count;
    }
    return extents;
  }

  /** Which blocks of the chunk are stored, in order: the others are holes. Errors: LostBlock; EIO (the session has ended). */
  async findStored(chunk: number, operation: Operation): Promise<readonly BlockRange[]> {
    const all = { chunk, firstBlock: 0, blockCount: 1 };
    return this.#askSomewhere(all, operation, async (link, { group, generation }) => {
      const { body } = await link.request(findStored, { session: this.#session.id, group, generation, chunk });
      return body.ranges;
    });
  }

  /** One in-sync member after the other, until one can answer. */
  async #askSomewhere<T>(
    blocks: BlockRange & { readonly chunk: number },
    operation: Operation,
    ask: (link: StoreLink, view: GroupView) => Promise<T>,
  ): Promise<T> {
    const group = groupOfChunk(blocks.chunk);
    const backoff = new Backoff(this.#platform, retryDelayMsMax);
    let view = await this.#members.groups.view(group, operation);
    /** Members that can't have it in this generation, with the reason. */
    const failed = new Map<number, Failure>();
    for (;;) {
      const links = this.#members.readable(view).filter((link) => !failed.has(link.store));
      const none = links.length === 0;
      for (const link of links) {
        operation.waitsFor = link.name;
        try {
          return await ask(link, view);
        } catch (error) {
          this.#consider(link, error, failed);
        }
        operation.check();
      }
      const before = view.generation;
      view = await this.#members.groups.refresh(group, operation);
      if (view.generation !== before) failed.clear();
      else if (none && failed.size > 0) this.#giveUp(operation, blocks, failed);
      else await backoff.wait();
      operation.check();
    }
  }

  /** Notes what the failure of a member means; throws if no other member can do better. */
  #consider(link: StoreLink, error: unknown, failed: Map<number, Failure>): void {
    this.#members.judgeSession(error);
    if (!(error instanceof BrineError)) throw error;
    const kind = kindOfFailure(error);
    if (kind === "fatal") throw error;
    if (error.code === "unknownChunk" || error.code === "badChecksum" || error.code === "diskFailed") {
      failed.set(link.store, { reason: error.message, isDamage: error.code !== "unknownChunk" });
      this.#log.warn("copy not readable: another one is taken", { store: link.store, reason: error.message });
    }
    // Not awaited: the other member answers now, whatever the leader finds out.
    if (kind === "unsent" || kind === "uncertain") void this.#members.report(link, error);
  }

  #giveUp(
    operation: Operation,
    { chunk, firstBlock, blockCount }: BlockRange & { readonly chunk: number },
    failed: ReadonlyMap<number, Failure>,
  ): never {
    if (blockCount > 1 && [...failed.values()].some(({ isDamage }) => isDamage)) throw new NoWholeCopy();
    const { volume } = this.#session;
    const reasons = [...failed].map(([store, { reason }]) => `store ${store}: ${reason}`).join("; ");
    const where = { volume: volume.name, inode: operation.inode, chunk, block: firstBlock };
    this.#log.error("no good copy is left: EIO", { ...where, reasons });
    throw new LostBlock(chunk, firstBlock);
  }

  #reportBad(link: StoreLink, target: Parameters<typeof reportBad.request.write>[1]): void {
    this.#log.warn("bad copy", { store: link.store, chunk: target.chunk, block: target.firstBlock });
    link.request(reportBad, target).catch((error) => {
      this.#log.warn("bad copy not reported", { store: link.store, reason: String(error) });
    });
  }
}

/** Both in one, if they lie one behind the other in memory: extents of one answer do. */
function joined(left: Uint8Array, right: Uint8Array): Uint8Array | undefined {
  if (left.buffer !== right.buffer || left.byteOffset + left.byteLength !== right.byteOffset) return undefined;
  return Buffer.from(left.buffer, left.byteOffset, left.byteLength + right.byteLength);
}

function fillHoles(extents: readonly CheckedExtent[], firstBlock: number, blockCount: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let next = firstBlock;
  const holeUpTo = (block: number) => {
    if (block > next) pieces.push(Buffer.alloc((block - next) * blockBytes));
  };
  for (const { firstBlock: first, data } of extents) {
    holeUpTo(first);
    const last = first === next ? pieces.at(-1) : undefined;
    const together = last === undefined ? undefined : joined(last, data);
    if (together === undefined) pieces.push(data);
    else pieces[pieces.length - 1] = together;
    next = first + data.byteLength / blockBytes;
  }
  holeUpTo(firstBlock + blockCount);
  return pieces;
}
