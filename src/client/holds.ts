/**
 * Holds on open inodes. The first handle of an inode tells the leader, the last close takes it back, in batches. What is
 * held stays readable whatever happens to its names; after a reconnect all holds are stated again.
 */
import type { Clock, Timer } from "../platform/clock.ts";
import { open, release } from "../wire/catalogue/leader.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** Closing is not urgent: a pause of this length makes one request of many, and nobody sees that space is freed later. */
const releaseDelayMs = 5;
/** In one request; far below its bound. */
const releaseCountMax = 4096;

interface Hold {
  handles: number;
  /** Set while the leader is being told: who comes meanwhile waits for it. */
  busy: Promise<void> | undefined;
}

export class Holds {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #holds = new Map<number, Hold>();
  /** Without handles: to be released unless opened again first. */
  readonly #idle = new Set<number>();
  #timer: Timer | undefined;
  #releasing: Promise<void> | undefined;

  constructor(session: Session, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
  }

  /** One more handle of the inode. Errors: ENOENT. */
  async open(inode: number, operation: Operation): Promise<void> {
    for (;;) {
      const hold = this.#holds.get(inode);
      if (hold === undefined) break;
      if (hold.busy === undefined) {
        hold.handles += 1;
        this.#idle.delete(inode);
        return;
      }
      await hold.busy.catch(() => {});
      operation.check();
    }
    const hold: Hold = { handles: 0, busy: undefined };
    this.#holds.set(inode, hold);
    const asking = this.#session.request(open, { session: this.#session.id, inode }, operation);
    hold.busy = asking.then(
      () => {
        hold.busy = undefined;
        hold.handles += 1;
      },
      (error) => {
        this.#holds.delete(inode);
        // A cancelled request may have been executed all the same: the hold is taken back.
        if (operation.cancelled) this.#takeBack(inode);
        throw error;
      },
    );
    await hold.busy;
  }

  /** A handle of an inode that was created with a hold. */
  adopt(inode: number): void {
    const hold = this.#holds.get(inode);
    if (hold === undefined) this.#holds.set(inode, { handles: 1, busy: undefined });
    else hold.handles += 1;
    this.#idle.delete(inode);
  }

  /** One handle less. */
  close(inode: number): void {
    const hold = this.#holds.get(inode);
    if (hold === undefined || hold.handles === 0) throw new Error(`inode ${inode} was closed more often than opened`);
    hold.handles -= 1;
    if (hold.handles === 0) this.#letGo(inode);
  }

  /** What the leader is to know after a reconnect. */
  inodes(): number[] {
    return [...this.#holds.keys()];
  }

  /** Releases at once what has no handle; resolves when it is released. */
  async flush(): Promise<void> {
    while (this.#idle.size > 0 || this.#releasing !== undefined) {
      this.#timer?.cancel();
      this.#timer = undefined;
      await (this.#releasing ?? this.#release());
    }
  }

  #takeBack(inode: number): void {
    if (this.#session.ended || this.#holds.has(inode)) return;
    this.#holds.set(inode, { handles: 0, busy: undefined });
    this.#letGo(inode);
  }

  #letGo(inode: number): void {
    this.#idle.add(inode);
    if (this.#idle.size >= releaseCountMax && this.#releasing === undefined) void this.#release();
    else this.#arm();
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#releasing !== undefined) return;
    this.#timer = this.#clock.startTimer(releaseDelayMs, () => {
      this.#timer = undefined;
      void this.#release();
    });
  }

  /** Never rejects: if the session ends, its holds end with it. */
  #release(): Promise<void> {
    const inodes = [...this.#idle].slice(0, releaseCountMax);
    if (inodes.length === 0) return Promise.resolve();
    const asking = this.#session.request(release, { session: this.#session.id, inodes }).catch(() => {});
    const releasing = asking.then(() => {
      for (const inode of inodes) this.#holds.delete(inode);
      this.#releasing = undefined;
      if (this.#idle.size > 0 && !this.#session.ended) this.#arm();
    });
    for (const inode of inodes) {
      this.#idle.delete(inode);
      this.#holds.get(inode)!.busy = releasing;
    }
    this.#releasing = releasing;
    return releasing;
  }
}
