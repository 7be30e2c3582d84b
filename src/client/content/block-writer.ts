/**
 * Writes whole blocks of one chunk through to all members, under the exclusive lease, with blocks locked by the caller: for
 * writes that have no grant of space. (With one, see write-back.ts.)
 *
 * The hard case is a member whose disk is full while another has taken the blocks: the caller gets ENOSPC, but the
 * in-sync members differ, and a reader would get the one or the other. Leaving it would be wrong bytes; retrying until
 * there is space would hang the program that could free it. So the write is *taken back*:
 *
 * 1. Nobody has it, and nobody can have it: ENOSPC at once. (The usual case: disks of a group are about as full.)
 * 2. Read the previous content from a member that refused. It must not have the failed version; if no such member is
 *    left (it was taken out of the group), the rest may have taken the write: offer it again.
 * 3. Write the previous content with a higher version to all members but those that refused the first write in the same
 *    generation and never left a request unanswered: they have the previous content as it is.
 * 4. A member that refuses this too may be in either state: it is asked. If it doesn't have the failed version, and can't
 *    get it any more, it is as it should be. Else wait and do 3 again: meanwhile the blocks stay locked and the lease held,
 *    so nobody sees the difference. (Stores take such a write from their reserve and from the rest of their log. Should both be
 *    used up, the wait ends when something is deleted, or the member leaves the group.)
 *
 * The members may then have different versions of the same content, which is sound: a catch-up or equalizing copies
 * one over the other.
 */
import { BrineError } from "../../errors/brine-error.ts";
import { FileError } from "../../errors/file-error.ts";
import { blockBytes, groupOfChunk } from "../../namespace/model.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Platform } from "../../platform/platform.ts";
import type { GroupView } from "../../wire/catalogue/leader.ts";
import { cloneChunk, type Version, writeBlocks } from "../../wire/catalogue/store.ts";
import { blockChecksums } from "../../wire/checksum.ts";
import { Backoff } from "../retry.ts";
import type { Session } from "../session.ts";
import type { Operation } from "../waits.ts";
import type { BlockReader } from "./block-reader.ts";
import type { Members } from "./members.ts";
import type { Change, Offered, Replication } from "./replication.ts";
import type { SpaceGrants } from "./space-grants.ts";

/** While a write can't be taken back for lack of space: it ends when somebody deletes something. */
const takeBackDelayMsMax = 1_000;

/** Whose blocks are written. */
export interface VersionSource {
  readonly inode: number;
  /** A version above all that were made before. */
  nextVersion(): Version;
}

interface Target {
  readonly chunk: number;
  readonly firstBlock: number;
  readonly blockCount: number;
}

export class BlockWriter {
  readonly #platform: Platform;
  readonly #log: Logger;
  readonly #session: Session;
  readonly #members: Members;
  readonly #replication: Replication;
  readonly #space: SpaceGrants;
  readonly #reader: BlockReader;

  constructor(parts: {
    platform: Platform;
    log: Logger;
    session: Session;
    members: Members;
    replication: Replication;
    reader: BlockReader;
    space: SpaceGrants;
  }) {
    this.#platform = parts.platform;
    this.#log = parts.log;
    this.#session = parts.session;
    this.#members = parts.members;
    this.#replication = parts.replication;
    this.#reader = parts.reader;
    this.#space = parts.space;
  }

  /**
   * Resolves when the blocks are on disk on all members. Errors: ENOSPC (the previous content stands on all members),
   * superseded (the lease was lost).
   */
  async write(
    source: VersionSource,
    chunk: number,
    firstBlock: number,
    pieces: readonly Uint8Array[],
    operation: Operation,
  ): Promise<void> {
    const version = source.nextVersion();
    const change = this.#writing(chunk, firstBlock, version, pieces, false);
    const blockCount = change.blockCount;
    for (;;) {
      const offered = await this.#replication.offer(change, operation);
      if (offered.refused.size === 0) return;
      const full = new FileError("ENOSPC", [...offered.refused.values()][0]!.message);
      for (const store of offered.refused.keys()) this.#space.refusedBy(store);
      if (change.reached.size === 0) throw full;
      const target = { chunk, firstBlock, blockCount };
      const previous = await this.#previous(target, version, offered, change);
      if (previous === undefined) continue;
      await this.#takeBack(source, target, version, previous, offered, change, operation);
      throw full;
    }
  }

  /**
   * Makes `chunk`, which is new, share the first blocks of `source`. Errors: ENOSPC, which also stands for a member that
   * doesn't have the source; what was made then is garbage, as an unmapped chunk.
   */
  async clone(chunk: number, source: number, blockCount: number, operation: Operation): Promise<void> {
    const session = this.#session.id;
    const group = groupOfChunk(chunk);
    const { refused } = await this.#replication.offer(
      {
        group,
        reached: new Set(),
        uncertain: new Set(),
        send: (link, generation) => link.request(cloneChunk, { session, group, generation, chunk, source, blockCount }),
      },
      operation,
    );
    if (refused.size > 0) throw new FileError("ENOSPC", [...refused.values()][0]!.message);
  }

  #writing(
    chunk: number,
    firstBlock: number,
    version: Version,
    pieces: readonly Uint8Array[],
    restores: boolean,
  ): Change<void> & { readonly blockCount: number } {
    const checksums: number[] = [];
    for (const piece of pieces) {
      for (const one of blockChecksums(piece, chunk, firstBlock + checksums.length, version)) checksums.push(one);
    }
    const group = groupOfChunk(chunk);
    const session = this.#session.id;
    const parts = [{ chunk, firstBlock, version, checksums }];
    return {
      group,
      blockCount: checksums.length,
      reached: new Set(),
      uncertain: new Set(),
      send: async (link, generation) => {
        const { body } = await link.request(writeBlocks, { session, group, generation, parts, restores }, pieces);
        for (const { code, reason } of body.failed) throw new BrineError(code, reason);
      },
    };
  }

  /** The content before the write of version `failed`, from a member that surely doesn't have it. See 2. */
  async #previous(
    target: Target,
    failed: Version,
    { view, refused }: Offered<void>,
    change: Change<void>,
  ): Promise<Uint8Array | undefined> {
    const links = this.#members
      .readable(view)
      .filter(({ store }) => refused.has(store) && !change.uncertain.has(store));
    for (const link of links) {
      try {
        const extents = await this.#extents(link, view, target);
        if (extents.some(({ version }) => isSame(version, failed))) continue;
        const content = Buffer.alloc(target.blockCount * blockBytes);
        for (const { firstBlock, data } of extents) content.set(data, (firstBlock - target.firstBlock) * blockBytes);
        return content;
      } catch (error) {
        this.#members.judgeSession(error);
        this.#log.warn("previous content not readable", { store: link.store, reason: String(error) });
      }
    }
    await new Backoff(this.#platform, takeBackDelayMsMax).wait();
    return undefined;
  }

  /** See 3 and 4. */
  async #takeBack(
    source: VersionSource,
    target: Target,
    failed: Version,
    previous: Uint8Array,
    first: Offered<void>,
    write: Change<void>,
    operation: Operation,
  ): Promise<void> {
    const { chunk, firstBlock } = target;
    this.#log.warn("a member is full: the write is taken back", { inode: source.inode, chunk, block: firstBlock });
    const backoff = new Backoff(this.#platform, takeBackDelayMsMax);
    const change = {
      ...this.#writing(chunk, firstBlock, source.nextVersion(), [previous], true),
      isUndo: true,
      excused: (view: GroupView) => {
        if (view.generation !== first.view.generation) return new Set<number>();
        return new Set([...first.refused.keys()].filter((store) => !write.uncertain.has(store)));
      },
    };
    for (;;) {
      const { view, refused } = await this.#replication.offer(change, operation);
      let settled = true;
      for (const store of refused.keys()) {
        if (write.uncertain.has(store) || !(await this.#lacks(view, store, target, failed))) settled = false;
      }
      if (settled) return;
      operation.waitsFor = `space on store ${[...refused.keys()].join(", ")}, to take back a write`;
      await backoff.wait();
    }
  }

  /** True if the member can be read and has nothing of the failed version. */
  async #lacks(view: GroupView, store: number, target: Target, failed: Version): Promise<boolean> {
    const link = this.#members.readable(view).find((one) => one.store === store);
    if (link === undefined) return false;
    try {
      const extents = await this.#extents(link, view, target);
      return !extents.some(({ version }) => isSame(version, failed));
    } catch (error) {
      this.#members.judgeSession(error);
      return false;
    }
  }

  async #extents(link: Parameters<BlockReader["readFrom"]>[0], view: GroupView, target: Target) {
    const { chunk, firstBlock, blockCount } = target;
    try {
      return await this.#reader.readFrom(link, view, chunk, firstBlock, blockCount);
    } catch (error) {
      // A chunk that no write has reached there is all hole.
      if (isUnknownChunk(error)) return [];
      throw error;
    }
  }
}

function isSame(left: Version, right: Version): boolean {
  return left.grant === right.grant && left.sequence === right.sequence;
}

function isUnknownChunk(error: unknown): boolean {
  return (error as { code?: string }).code === "unknownChunk";
}
