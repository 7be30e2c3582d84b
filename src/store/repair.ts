/**
 * Replaces bad blocks of this store by good copies of other members. The new copy has the same stamp and takes the place
 * of exactly the bad one, so a write that comes between wins. What is bad everywhere stays: its reader gets an error.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import { type BadBlock, compareVersions, readBlocks, reportBad } from "../wire/catalogue/store.ts";
import { verifyBlocks } from "../wire/checksum.ts";
import type { Peer } from "../wire/peer.ts";
import type { Target } from "./admission.ts";
import type { StoredExtent } from "./extents.ts";
import type { LateMembers } from "./late-members.ts";
import { Rounds } from "./rounds.ts";
import type { Store } from "./store.ts";

/** The one who reported the block waits meanwhile, so a member that is slow is passed over, and asked last for a while. */
const readTimeoutMs = 2_000;

const toldMax = 10_000;

export interface RepairParts {
  readonly store: Store;
  readonly logger: Logger;
  /** The own number, which is not asked. */
  readonly storeNumber: () => number | undefined;
  readonly connect: (member: Address) => Promise<Peer>;
  readonly lateMembers: LateMembers;
}

export class Repair {
  readonly #parts: RepairParts;
  /** Chunks with blocks that can't be read: their readers come again and again. */
  readonly #repairing = new Set<number>();
  /** Bad copies elsewhere of which their stores know. */
  readonly #told = new Set<string>();
  /** By group: the generation in which its members were asked for all that is bad here. */
  readonly #lookedIn = new Map<number, number>();
  readonly #rounds = new Rounds(() => this.#repairKnown());

  constructor(parts: RepairParts) {
    this.#parts = parts;
  }

  /** Groups may have got other members, who have good what is known to be bad here. */
  lookAgain(): void {
    this.#rounds.ask();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  async #repairKnown(): Promise<void> {
    const { badBlocks, groups } = this.#parts.store;
    if (badBlocks.repaired >= badBlocks.found) return;
    for (const group of [...groups.keys()]) await this.#repairIn(group);
  }

  /** Once in each of the group's generations. */
  async #repairIn(group: number): Promise<void> {
    const { store, storeNumber } = this.#parts;
    const { generation, members } = store.groups.get(group) ?? { generation: 0, members: [] };
    const isInSync = members.some((member) => member.store === storeNumber() && member.state === "inSync");
    if (this.#rounds.stopped || !isInSync || this.#lookedIn.get(group) === generation) return;
    this.#lookedIn.set(group, generation);
    for (const { chunk, firstBlock } of store.badBlocks.ofGroup(group)) {
      if (this.#rounds.stopped) return;
      await this.repairUnreadable({ session: 0, group, generation, chunk, firstBlock, blockCount: 1 });
    }
  }

  /** Blocks of a range that could not be read. One range of a chunk at a time; never rejects. */
  async repairUnreadable(target: Target & { readonly firstBlock: number; readonly blockCount: number }): Promise<void> {
    const { chunk, firstBlock, blockCount } = target;
    if (this.#repairing.has(chunk)) return;
    this.#repairing.add(chunk);
    try {
      const bad = await this.#parts.store.findBad(chunk, firstBlock, blockCount);
      if (bad.length > 0) await this.repair(target, bad);
    } catch (error) {
      this.#parts.logger.warn("unreadable blocks are not repaired", { chunk, reason: String(error) });
    } finally {
      this.#repairing.delete(chunk);
    }
  }

  /**
   * `bad`: blocks of the target's chunk, each an extent of its own. Never rejects: what can't be repaired is logged. Returns the
   * number of blocks that were.
   */
  async repair(target: Target, bad: readonly StoredExtent[]): Promise<number> {
    const { store, logger, storeNumber, lateMembers } = this.#parts;
    const { group, chunk } = target;
    const members = store.groups.get(group)?.members ?? [];
    const left = new Set(bad);
    for (const member of lateMembers.ordered(members)) {
      if (member.state !== "inSync" || member.store === storeNumber() || left.size === 0) continue;
      try {
        await this.#repairFrom(member, target, left);
      } catch (error) {
        logger.warn("no repair from a member", { chunk, member: member.store, reason: String(error) });
      }
    }
    const repaired = bad.length - left.size;
    logger.info("bad blocks repaired", { chunk, repaired, left: left.size });
    return repaired;
  }

  /** By data of a store that is no member any more. False if the block is not bad, or that is not its data. Errors: those of the disk. */
  async mend({ chunk, firstBlock, version }: BadBlock, data: Uint8Array): Promise<boolean> {
    const [bad] = await this.#parts.store.findBad(chunk, firstBlock, 1);
    if (bad === undefined || compareVersions(bad.stamp.version, version) !== 0) return false;
    if (data.byteLength !== blockBytes) return false;
    if (verifyBlocks(data, bad.origin, firstBlock, version, bad.checksums) !== -1) return false;
    await this.#replace(chunk, bad, data);
    return true;
  }

  /** `bad` keeps the blocks that are bad still. */
  async #repairFrom(
    { store, address }: { readonly store: number; readonly address: Address },
    target: Target,
    bad: Set<StoredExtent>,
  ): Promise<void> {
    const { connect, lateMembers } = this.#parts;
    const peer = await lateMembers.asking(store, () => connect(address));
    const telling: Promise<void>[] = [];
    try {
      for (const block of bad) {
        const data = await lateMembers.asking(store, () => copyOf(peer, target, block));
        if (data === "bad") telling.push(this.#tell(peer, target, block));
        if (data === undefined || data === "bad") continue;
        await this.#replace(target.chunk, block, data);
        bad.delete(block);
      }
    } finally {
      await Promise.all(telling);
      peer.close("repaired");
    }
  }

  /** The other copy is bad too: that store is to know, and to look for a third one. Once, or the two would go on for ever. */
  async #tell(
    peer: Peer,
    { group, generation, chunk }: Target,
    { firstBlock, segment, offset }: StoredExtent,
  ): Promise<void> {
    const key = `${peer.remote.address} ${chunk} ${firstBlock} ${segment} ${offset}`;
    if (this.#told.has(key) || this.#told.size >= toldMax) return;
    this.#told.add(key);
    const body = { session: 0, group, generation, chunk, firstBlock, blockCount: 1 };
    await peer.request(reportBad, body, { timeoutMs: readTimeoutMs }).catch((error) => {
      this.#parts.logger.warn("another member could not be told of its bad copy", { chunk, reason: String(error) });
    });
  }

  /** By data with the right checksum. */
  async #replace(chunk: number, block: StoredExtent, data: Uint8Array): Promise<void> {
    const { store } = this.#parts;
    const { firstBlock, stamp, origin, checksums } = block;
    const replacement = { chunk, firstBlock, stamp, origin, checksums: [...checksums], expected: stamp };
    await store.readyToWrite();
    await store.replace(replacement, data, { isGood: true, restores: true });
    store.badBlocks.addRepaired(chunk, firstBlock);
  }
}

/** The block's data as another member has it; undefined if that has another version, or an unreadable copy as well. */
async function copyOf(peer: Peer, target: Target, block: StoredExtent): Promise<Uint8Array | "bad" | undefined> {
  const { group, generation, chunk } = target;
  const { firstBlock, stamp, origin, checksums } = block;
  const body = { session: 0, group, generation, chunk, firstBlock, blockCount: 1 };
  const reply = await peer.request(readBlocks, body, { timeoutMs: readTimeoutMs }).catch((error) => {
    // badChecksum: it calls the block lost.
    if (hasCode(error, "diskFailed", "unknownChunk", "badChecksum")) return undefined;
    throw error;
  });
  if (reply === undefined) return undefined;
  const extent = reply.body.extents[0];
  if (extent === undefined || compareVersions(extent.version, stamp.version) !== 0) return undefined;
  if (reply.payload.byteLength === 0) throw new BrineError("protocol", `a block of chunk ${chunk} came without data`);
  const bad = verifyBlocks(reply.payload, origin, firstBlock, stamp.version, checksums);
  return bad === -1 ? reply.payload : "bad";
}
