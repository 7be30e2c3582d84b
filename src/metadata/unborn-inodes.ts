/**
 * Inodes that a client has made and whose creation is not committed yet. Nobody else finds their names, because the directory's
 * lease is the maker's; but a handle (name_to_handle_at(2)) names an inode, and may be passed on by other ways. Who comes with
 * such a number gets its answer when the maker has committed what it has made of it, if anything.
 *
 * Their leases are left alone: the maker has its cover, which the leader learns of with the creation. What a client never made
 * is in none of its grants, or costs one question.
 */

import { commitInode } from "../wire/catalogue/leader.ts";
import type { Leader } from "./leader.ts";
import type { Session, Sessions } from "./sessions.ts";

export class UnbornInodes {
  readonly #leader: Leader;
  readonly #sessions: Sessions;

  constructor(leader: Leader, sessions: Sessions) {
    this.#leader = leader;
    this.#sessions = sessions;
  }

  /** Resolves when the inode is there, or its creation isn't on its way; undefined: no other session can be making it. */
  whenMade(asking: Session, inode: number): Promise<void> | undefined {
    const { namespace } = this.#leader;
    const maker = this.#sessions
      .all()
      .find((one) => one.volume === asking.volume && one !== asking && namespace.mayCreate(one.id, inode));
    return maker === undefined ? undefined : this.#whenCommitted(maker, inode);
  }

  /** Until the client has answered or its session has ended: that has a bound of its own. */
  async #whenCommitted(maker: Session, inode: number): Promise<void> {
    const { lifetime, namespace, timeouts, waits } = this.#leader;
    const wait = waits.begin("an inode to be made", () => ({ client: maker.host, session: maker.id }));
    try {
      while (!lifetime.stopped && this.#sessions.get(maker.id) === maker && namespace.mayCreate(maker.id, inode)) {
        const { peer } = maker;
        if (peer !== undefined && (await this.#isAnswered(peer, inode)) && maker.peer === peer) return;
        await lifetime.sleep(timeouts.retryMs / 5);
      }
    } finally {
      wait.end();
    }
  }

  /** False: the connection has ended, or the client is slow. It is asked again for as long as its session stands. */
  async #isAnswered(peer: NonNullable<Session["peer"]>, inode: number): Promise<boolean> {
    try {
      await peer.request(commitInode, { inode }, { timeoutMs: this.#leader.timeouts.sessionMs });
      return true;
    } catch {
      return false;
    }
  }
}
