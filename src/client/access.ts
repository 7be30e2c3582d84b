/**
 * How an operation gets at what it needs: leases on several inodes, and names in their directories, all at the same moment.
 *
 * The problem: the operation must run under all its leases at once, but which ones it needs shows only on the way (the
 * inode behind a name). A client that holds one lease while it waits for another may wait for a client that does the
 * same the other way round.
 *
 * 1. The operation is an *attempt*: a function that runs without waiting, over what is there. What it lacks ends it
 *    (`Missing`), before it has changed anything.
 * 2. What is missing is fetched and pinned, then the attempt is made again, from the start.
 * 3. Before it waits for the lease on an inode, it lets go of all pinned inodes with that number or a higher one. So
 *    whoever waits holds only lower ones, and no two can wait for each other. What was let go is most often still
 *    there; if not, it is missing in the next attempt, and is taken in order.
 * 4. What a change adds to quotas is missing in the same way. It is obtained with everything pinned that is: nobody who is asked
 *    for it waits for a lease. What was obtained of one account stays while another is asked for.
 * 5. An inode may be gone by the time its lease could be had, although its name was read here: somebody has replaced it.
 *    Then the next attempt sees what the name stands for now.
 */
import { FileError } from "../errors/file-error.ts";
import type { EntryRecord } from "../namespace/model.ts";
import { accountKey } from "../namespace/usage.ts";
import { type LeaseMode, lookup } from "../wire/catalogue/leader.ts";
import { leaseTimeoutMs, satisfies } from "./lease-rules.ts";
import type { Leases } from "./leases.ts";
import type { Node } from "./node.ts";
import { LackingQuota, type QuotaGrants } from "./quota-grants.ts";
import type { Session } from "./session.ts";
import type { Soon } from "./soon.ts";
import type { Operation } from "./waits.ts";

/** What an attempt lacks: a lease, or a name in a directory. */
export class Missing {
  readonly inode: number;
  readonly mode: LeaseMode;
  readonly name: string | undefined;

  constructor(inode: number, mode: LeaseMode, name?: string) {
    this.inode = inode;
    this.mode = mode;
    this.name = name;
  }
}

interface Gone {
  readonly inode: number;
  readonly error: FileError;
}

/** Fetches what attempts lack. One for each session. */
export class Fetcher {
  readonly leases: Leases;
  readonly session: Session;
  readonly #quotas: QuotaGrants;
  /** Lookups under way: who wants the same name waits for the answer. */
  readonly #lookups = new Map<string, Promise<void>>();

  constructor(leases: Leases, session: Session, quotas: QuotaGrants) {
    this.leases = leases;
    this.session = session;
    this.#quotas = quotas;
  }

  /**
   * Runs `attempt` as often as it takes. It must not wait, and change nothing before it has all that it needs. Most often
   * it has: then the outcome is there, or thrown, at once.
   */
  run<T>(operation: Operation, attempt: (access: Access) => T): Soon<T> {
    const access = new Access(this);
    let missing: Missing | LackingQuota;
    try {
      return attempt(access);
    } catch (error) {
      if (!(error instanceof Missing || error instanceof LackingQuota)) throw error;
      missing = error;
    } finally {
      access.release();
    }
    return this.#runWaiting(access, missing, operation, attempt);
  }

  async #runWaiting<T>(
    access: Access,
    lacked: Missing | LackingQuota,
    operation: Operation,
    attempt: (access: Access) => T,
  ): Promise<T> {
    let missing = lacked;
    let gone: Gone | undefined;
    const kept = new Map<string, () => void>();
    try {
      for (;;) {
        if (missing instanceof LackingQuota) {
          const key = accountKey(missing.account);
          kept.get(key)?.();
          kept.delete(key);
          await this.#quotas.obtain(missing, operation);
          kept.set(key, this.#quotas.keep(missing.account, missing.amount));
        } else gone = await this.#fetch(access, missing, gone, operation);
        operation.check();
        try {
          return attempt(access);
        } catch (error) {
          if (!(error instanceof Missing || error instanceof LackingQuota)) throw error;
          missing = error;
        }
      }
    } finally {
      for (const letGo of kept.values()) letGo();
      access.release();
    }
  }

  /** Returns the inode that was found to be gone, if one was. */
  async #fetch(
    access: Access,
    missing: Missing,
    gone: Gone | undefined,
    operation: Operation,
  ): Promise<Gone | undefined> {
    if (missing.name === undefined && missing.inode === gone?.inode) throw gone.error;
    try {
      await access.fetch(missing, operation);
      return gone;
    } catch (error) {
      if (missing.name !== undefined || !(error instanceof FileError) || error.code !== "ENOENT") throw error;
      return { inode: missing.inode, error };
    }
  }

  /** Asks for a name; the leases that come along are pinned by whoever asked first, and errors are his. */
  async lookup(directory: number, name: string, pins: Node[], operation: Operation): Promise<void> {
    const key = `${directory}/${name}`;
    const underWay = this.#lookups.get(key);
    if (underWay !== undefined) {
      operation.waitsFor = lookup.name;
      await underWay.catch(() => {});
      return;
    }
    const asking = this.#lookup(directory, name, pins, operation).finally(() => this.#lookups.delete(key));
    this.#lookups.set(key, asking);
    await asking;
  }

  async #lookup(directory: number, name: string, pins: Node[], operation: Operation): Promise<void> {
    const known = this.leases.get(directory);
    // One that is leaving is asked for again only when it is gone.
    if (known?.leaving !== undefined && !pins.includes(known)) {
      pins.push(await this.leases.use(directory, "shared", operation));
      return;
    }
    const held = known?.mode === undefined ? 0 : known.grant;
    const request = { session: this.session.id, parent: directory, held, name };
    const options = { timeoutMs: leaseTimeoutMs };
    const { parent, entry, child } = await this.session.request(lookup, request, operation, options);
    const node = parent === undefined ? this.leases.get(directory) : this.leases.learn(parent, pins);
    // The answer is of a lease that has gone meanwhile.
    if (node?.mode === undefined || (parent === undefined && node.grant !== held)) {
      if (child !== undefined) this.leases.learn(child);
      return;
    }
    if (child !== undefined) this.leases.learn(child, pins);
    if (node.names === undefined || node.names.knows(name)) return;
    if (entry === undefined) node.names.setAbsent(name);
    else {
      node.use.lookups.there += 1;
      node.names.set(name, entry);
    }
  }
}

/** What one operation has pinned. */
export class Access {
  readonly #fetcher: Fetcher;
  #pins: Node[] = [];
  /** The caller has seen to it that the pinned leases stand. */
  #isTrusted = false;

  constructor(fetcher: Fetcher) {
    this.#fetcher = fetcher;
  }

  /** For a single node that the caller has pinned, and lets go. */
  static over(fetcher: Fetcher, node: Node): Access {
    const access = new Access(fetcher);
    access.#pins = [node];
    access.#isTrusted = true;
    return access;
  }

  /** The node under a lease of at least `mode`, for now. Throws Missing. */
  node(inode: number, mode: LeaseMode): Node {
    const { leases, session } = this.#fetcher;
    const held = leases.held(inode, mode);
    if (held !== undefined) return held;
    if (this.#isTrusted || session.live) {
      for (const pin of this.#pins) {
        if (pin.inode === inode && satisfies(pin.mode, mode) && (this.#isTrusted || !pin.isBlocked)) return pin;
      }
    }
    throw new Missing(inode, mode);
  }

  /** The entry of a directory, undefined if there is none. Throws Missing. */
  entry(directory: Node, name: string): EntryRecord | undefined {
    const { names } = directory;
    if (names === undefined) return undefined;
    if (!names.knows(name)) throw new Missing(directory.inode, "shared", name);
    return names.get(name);
  }

  /** The node of a directory, for an entry that is looked up. A lease that is missing comes with the name. Throws Missing. */
  directory(inode: number, name: string): Node {
    const node = this.#fetcher.leases.get(inode);
    if (node?.mode === undefined) throw new Missing(inode, "shared", name);
    return this.node(inode, "shared");
  }

  async fetch(missing: Missing, operation: Operation): Promise<void> {
    const { leases } = this.#fetcher;
    const isHeld = missing.name !== undefined && this.#pins.some((pin) => pin.inode === missing.inode);
    if (!isHeld) this.#letGo((pin) => pin.inode >= missing.inode);
    if (missing.name === undefined) this.#pins.push(await leases.use(missing.inode, missing.mode, operation));
    else await this.#fetcher.lookup(missing.inode, missing.name, this.#pins, operation);
  }

  release(): void {
    if (this.#pins.length > 0) this.#letGo(() => true);
  }

  /** Hands over the pins: whoever takes them lets them go. */
  takePins(): Node[] {
    const pins = this.#pins;
    this.#pins = [];
    return pins;
  }

  /** Keeps a node that was just found until `release`. */
  pin(node: Node): void {
    if (this.#pins.includes(node)) return;
    this.#fetcher.leases.pin(node);
    this.#pins.push(node);
  }

  #letGo(which: (pin: Node) => boolean): void {
    const gone = this.#pins.filter(which);
    if (gone.length === 0) return;
    this.#pins = this.#pins.filter((pin) => !gone.includes(pin));
    for (const node of gone) this.#fetcher.leases.done(node);
  }
}
