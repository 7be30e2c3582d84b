/**
 * Before a store deletes its copy of a group that has gone on without it, the group's members get from it what they have bad.
 *
 * While it was away the group was copied from others, and that is when their disks show what they can't read any more: its own copy
 * may be the last good one. It is an older one, but a block of the same version, with the checksum that its writer made, is the
 * same block, whoever has it (repair.ts); what was overwritten since is not taken.
 *
 * A member knows of all its bad blocks when somebody else has been copied from it. So the group must be whole before the copy may go.
 */
import { hasCode } from "../errors/brine-error.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { type BadBlock, compareVersions, listBad, mendBlock } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import type { Store } from "./store.ts";

/** Nobody waits for it. */
const timeoutMs = 5_000;
/** Members may have changed once more since those that know it were asked. */
const viewsMax = 8;

type Member = GroupView["members"][number];

export interface FormerCopiesParts {
  readonly store: Store;
  readonly logger: Logger;
  readonly connect: (member: Address) => Promise<Peer>;
}

export class FormerCopies {
  readonly #parts: FormerCopiesParts;

  constructor(parts: FormerCopiesParts) {
    this.#parts = parts;
  }

  /** Mends what can be mended now. True if that is all: every member of the group as it is now is in sync, and was asked. Never rejects. */
  async offer(group: number): Promise<boolean> {
    let view = this.#parts.store.groups.get(group);
    for (let count = 0; view !== undefined && count < viewsMax; count++) {
      const members = view.members.filter(({ state }) => state === "inSync");
      const heard: GroupView[] = [];
      for (const member of members) {
        const now = await this.#mend(view, member);
        if (now !== undefined) heard.push(now);
      }
      const { generation } = view;
      const newer = heard.find((one) => one.generation > generation);
      if (newer === undefined) return heard.length === view.members.length;
      view = newer;
    }
    return false;
  }

  /** Returns the group as the member knows it; undefined if the member can't be asked now. */
  async #mend({ group, generation }: GroupView, member: Member): Promise<GroupView | undefined> {
    const { connect, logger } = this.#parts;
    let peer: Peer | undefined;
    try {
      peer = await connect(member.address);
      for (;;) {
        const { view, blocks } = (await peer.request(listBad, { group, generation }, { timeoutMs })).body;
        let mended = 0;
        for (const block of blocks) if (await this.#give(peer, view, block)) mended += 1;
        if (mended > 0) logger.info("bad blocks of a member mended", { group, member: member.store, mended });
        // Behind those that were mended there may be more than one answer holds.
        if (mended === 0) return view;
      }
    } catch (error) {
      logger.debug("a group's member can't be asked what it has bad", {
        group,
        member: member.store,
        reason: String(error),
      });
      return undefined;
    } finally {
      peer?.close("asked");
    }
  }

  /** True if the member has taken it. Errors: those of the request. */
  async #give(
    peer: Peer,
    { group, generation }: GroupView,
    { chunk, firstBlock, version }: BadBlock,
  ): Promise<boolean> {
    const data = await this.#read(chunk, firstBlock, version);
    if (data === undefined) return false;
    const body = { group, generation, chunk, firstBlock, version };
    return (await peer.request(mendBlock, body, { payload: [data], timeoutMs })).body.isMended;
  }

  /** The block as it is here, whether it is good or not; undefined if it is not here in that version. */
  async #read(chunk: number, block: number, version: BadBlock["version"]): Promise<Uint8Array | undefined> {
    try {
      const { extents, payload } = await this.#parts.store.read(chunk, block, 1);
      const [extent] = extents;
      const isSame = extent !== undefined && compareVersions(extent.stamp.version, version) === 0;
      return isSame ? payload : undefined;
    } catch (error) {
      if (hasCode(error, "unknownChunk", "badChecksum", "diskFailed")) return undefined;
      throw error;
    }
  }
}
