/**
 * Compares this store's chunks with those of the group's other members in sync, and takes from them what is missing here or
 * older: a write that was acknowledged and that the disk has lost whole, which no checksum shows.
 *
 * At rest all members in sync are equal. While clients write they are not, and after a writer's death neither, until the leader
 * has made them equal. The obvious rule, that the higher version is right, would in that moment bring back a write that the
 * leader is just having taken back elsewhere (comparison.ts). So a block is taken only if it can't be such a one:
 *
 * 1. Digests of a page of chunks are compared. Those that differ are looked at again after a while: writes under way have
 *    arrived by then.
 * 2. Of a chunk that still differs, all extents are compared, with the session that wrote each block.
 * 3. Is the session live here, then the copy counts as one of its requests: it can't be fenced before the copy has ended, and
 *    what the leader has made equal comes after that. Has it ended, the leader says whether that is over for good.
 * 4. A chunk that isn't here at all is taken only if the leader says that a file has it. It is asked again afterwards, because
 *    deletions go on meanwhile: one that nobody has any more goes again.
 * 5. The data is checked and laid over exactly the block that was seen, or over an older one, or a hole.
 *
 * Where a write was taken back because a disk was full (block-writer.ts of the client), members have different versions of one
 * content. It is taken all the same, but nothing was missing.
 *
 * What is newer here than there the other member finds in its own pass. Blocks of one version that differ all the same are
 * nobody's fault that is known; they are logged, and stay.
 */
import { isZeros } from "../codec/zeros.ts";
import { hasCode } from "../errors/brine-error.ts";
import { blockBytes, firstChunkOf } from "../namespace/model.ts";
import type { Clock } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import { Sleeper } from "../platform/sleeper.ts";
import { compareVersions, listChunks, listExtents, readBlocks, type StampedExtent } from "../wire/catalogue/store.ts";
import { verifyBlocks } from "../wire/checksum.ts";
import type { Peer } from "../wire/peer.ts";
import type { Admission } from "./admission.ts";
import { type BlockHere, blocksHere } from "./comparison.ts";
import { isLost } from "./extents.ts";
import type { LateMembers } from "./late-members.ts";
import type { Store } from "./store.ts";

const answerMs = 10_000;
/** A write that has reached one member is at the others within milliseconds, or its client is in trouble. */
const settleMs = 2_000;
const attempts = 3;
const pageChunks = 256;
const rangeBlocksMax = 256;
/** What the leader is asked at once. */
const sessionsMax = 1024;

export interface ScrubComparisonParts {
  readonly store: Store;
  readonly admission: Admission;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly connect: (member: Address) => Promise<Peer>;
  /** See `judgeDifferences` in the catalogue. Errors: unreachable. */
  readonly judge: (chunks: number[], sessions: number[]) => Promise<{ mapped: boolean[]; over: boolean[] }>;
  readonly lateMembers: LateMembers;
}

/** Blocks that were laid down here. */
interface Taken {
  blocks: number;
  /** Of them: what this store would have answered readers was wrong. */
  wrong: number;
}

interface Wanted {
  readonly extent: StampedExtent;
  readonly block: number;
}

export class ScrubComparison {
  readonly #parts: ScrubComparisonParts;
  readonly #sleeper: Sleeper;
  readonly #peers = new Map<Address, Peer>();

  constructor(parts: ScrubComparisonParts) {
    this.#parts = parts;
    this.#sleeper = new Sleeper(parts.clock);
  }

  stop(): void {
    this.#sleeper.stop();
  }

  /** Nothing is to be compared for a while: connections end. */
  rest(): void {
    for (const peer of this.#peers.values()) peer.close("compared");
    this.#peers.clear();
  }

  /** Chunks of the group in (after, upTo]. Resolves with the number of blocks that were missing or outdated. Errors: of the own disk. */
  async compare(group: number, after: number, upTo: number): Promise<number> {
    const { store, admission, logger, lateMembers } = this.#parts;
    let taken = 0;
    for (let left = attempts; left > 0 && !this.#sleeper.stopped; left--) {
      const view = store.groups.get(group);
      const own = view?.members.find((member) => member.store === admission.storeNumber);
      if (view === undefined || own?.state !== "inSync") return taken;
      const others = view.members.filter((member) => member.state === "inSync" && member !== own);
      try {
        for (const { store: number, address } of lateMembers.ordered(others)) {
          // Who doesn't answer is not before the others at the next attempt.
          const part = { group, generation: view.generation, after, upTo };
          taken += await this.#compareWith(address, part).catch((error) => {
            if (hasCode(error, "timedOut", "unreachable")) lateMembers.wasLate(number);
            throw error;
          });
        }
        return taken;
      } catch (error) {
        if (hasCode(error, "diskFailed", "noSpace")) throw error;
        logger[left > 1 ? "debug" : "warn"]("members not compared", { group, reason: String(error) });
        await this.#sleeper.sleep(settleMs);
      }
    }
    return taken;
  }

  async #compareWith(
    address: Address,
    part: { group: number; generation: number; after: number; upTo: number },
  ): Promise<number> {
    const peer = await this.#peer(address);
    if ((await this.#differing(peer, part)).length === 0) return 0;
    await this.#sleeper.sleep(settleMs);
    let taken = 0;
    for (const chunk of await this.#differing(peer, part)) {
      if (this.#sleeper.stopped) break;
      taken += await this.#reconcile(peer, { ...part, chunk });
    }
    return taken;
  }

  async #peer(address: Address): Promise<Peer> {
    const before = this.#peers.get(address);
    if (before !== undefined && !before.closed) return before;
    const peer = await this.#parts.connect(address);
    this.#peers.set(address, peer);
    return peer;
  }

  /** Chunks that the other member has, and that have another digest here, or none. */
  async #differing(
    peer: Peer,
    { group, generation, after, upTo }: { group: number; generation: number; after: number; upTo: number },
  ): Promise<number[]> {
    const { store } = this.#parts;
    const differing: number[] = [];
    // The first page goes from the group's begin, the last one to where the own chunks end.
    for (let from = Math.max(after, firstChunkOf(group) - 1); ; ) {
      const request = { group, generation, after: from, limit: pageChunks };
      const { body } = await peer.request(listChunks, request, { timeoutMs: answerMs });
      for (const { chunk, digest } of body.chunks) {
        if (chunk > upTo && !this.#isLast(group, upTo)) return differing;
        const [own] = store.listChunks(group, chunk - 1, 1);
        if (own?.chunk !== chunk || own.digest !== digest) differing.push(chunk);
      }
      const last = body.chunks.at(-1);
      if (last === undefined || (last.chunk >= upTo && !this.#isLast(group, upTo))) return differing;
      from = last.chunk;
    }
  }

  /** True if the store has nothing of the group behind it. */
  #isLast(group: number, chunk: number): boolean {
    return this.#parts.store.listChunks(group, chunk, 1).length === 0;
  }

  async #reconcile(peer: Peer, target: { group: number; generation: number; chunk: number }): Promise<number> {
    const { store, admission, judge, logger } = this.#parts;
    const { chunk, group, generation } = target;
    const extents = await this.#extentsAt(peer, { group, generation, chunk });
    const wanted = this.#wanted(chunk, extents);
    if (wanted.length === 0) return 0;
    const isNew = store.chunk(chunk) === undefined;
    const live = new Set<number>();
    const ended = new Set<number>();
    for (const { session } of wanted.map(({ extent }) => extent)) {
      if (session === 0) continue;
      if (admission.isLive(session)) live.add(session);
      else ended.add(session);
    }
    const leaving = [...live].map((session) => admission.enter(session));
    const taken: Taken = { blocks: 0, wrong: 0 };
    try {
      const asked = [...ended].slice(0, sessionsMax);
      const verdict = asked.length > 0 || isNew ? await judge([chunk], asked) : { mapped: [true], over: [] };
      if (isNew && verdict.mapped[0] !== true) return 0;
      const over = new Set(asked.filter((_, index) => verdict.over[index] === true));
      const safe = wanted.filter(({ extent: { session } }) => session === 0 || live.has(session) || over.has(session));
      for (const run of runsOf(safe)) await this.#take(peer, { group, generation, chunk }, run, taken);
    } finally {
      for (const leave of leaving) leave();
    }
    const { blocks, wrong } = taken;
    if (blocks === 0) return 0;
    if (wrong > 0)
      logger.error("blocks were missing or outdated here: taken from another member", { chunk, blocks: wrong });
    if (blocks > wrong)
      logger.info("blocks had another version of the same content", { chunk, blocks: blocks - wrong });
    // It may have been deleted while its copy was on its way.
    if (!(await judge([chunk], [])).mapped[0]) await store.delete([chunk]);
    return wrong;
  }

  async #extentsAt(peer: Peer, target: { group: number; generation: number; chunk: number }): Promise<StampedExtent[]> {
    try {
      return (await peer.request(listExtents, target, { timeoutMs: answerMs })).body.extents;
    } catch (error) {
      if (hasCode(error, "unknownChunk")) return [];
      throw error;
    }
  }

  /** Blocks that are newer there, or only there. */
  #wanted(chunk: number, extents: readonly StampedExtent[]): Wanted[] {
    const here = blocksHere(this.#parts.store.chunk(chunk)?.extents ?? []);
    const wanted: Wanted[] = [];
    for (const extent of extents) {
      if (isLost(extent)) continue;
      for (const [index, checksum] of extent.checksums.entries()) {
        const block = extent.firstBlock + index;
        const present = here[block];
        const order = orderOf(present, extent);
        if (order < 0) wanted.push({ extent, block });
        const isSame = present?.checksum === checksum && present.origin === extent.origin;
        if (order === 0 && !isSame) this.#parts.logger.error("one version, two contents", { chunk, block });
      }
    }
    return wanted;
  }

  /** Reads a run of blocks there and lays it down here, each over what it was compared with. Adds to `taken`. */
  async #take(
    peer: Peer,
    target: { group: number; generation: number; chunk: number },
    { from, to }: { from: number; to: number },
    taken: Taken,
  ): Promise<void> {
    const { store } = this.#parts;
    const { chunk, generation } = target;
    const request = { session: 0, ...target, firstBlock: from, blockCount: to - from };
    const { body, payload } = await peer.request(readBlocks, request, { timeoutMs: answerMs });
    await store.readyToWrite();
    const here = blocksHere(store.chunk(chunk)?.extents ?? []);
    const replaced: Promise<void>[] = [];
    let at = 0;
    for (const { firstBlock, version, origin, checksums } of body.extents) {
      for (const [index, checksum] of checksums.entries()) {
        const block = firstBlock + index;
        const data = payload.subarray(at, at + blockBytes);
        at += blockBytes;
        const isGood = verifyBlocks(data, origin, block, version, [checksum]) === -1;
        const present = here[block];
        if (!isGood || orderOf(present, { version }) >= 0) continue;
        const stamp = { version, generation, session: 0 };
        const replacement = {
          chunk,
          firstBlock: block,
          stamp,
          origin,
          checksums: [checksum],
          expected: present?.stamp,
        };
        replaced.push(store.replace(replacement, data, { isGood }));
        taken.blocks += 1;
        if (!isContentOf(present, block, data)) taken.wrong += 1;
      }
    }
    for (const result of await Promise.allSettled(replaced)) if (result.status === "rejected") throw result.reason;
  }
}

/** Below 0: here it is older, or missing. */
function orderOf(present: BlockHere | undefined, { version }: Pick<StampedExtent, "version">): number {
  return present === undefined ? -1 : compareVersions(present.stamp.version, version);
}

/** Whether readers of `present` get this data, as far as its checksum says; a hole is read as zeros. */
function isContentOf(present: BlockHere | undefined, block: number, data: Uint8Array): boolean {
  if (present === undefined) return isZeros(data, 0, blockBytes);
  const { origin, stamp, checksum } = present;
  return verifyBlocks(data, origin, block, stamp.version, [checksum]) === -1;
}

/** Neighbouring blocks, in requests of the usual size. */
function runsOf(wanted: readonly Wanted[]): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (const { block } of wanted) {
    const last = runs.at(-1);
    if (last !== undefined && last.to === block && block - last.from < rangeBlocksMax) last.to += 1;
    else runs.push({ from: block, to: block + 1 });
  }
  return runs;
}
