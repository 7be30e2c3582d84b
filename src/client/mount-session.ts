/**
 * Everything that belongs to one session, wired together: connection, transactions, ids, leases, holds, groups, stores,
 * readers and writers. When the session is lost it all fails together; the client then makes a new one.
 *
 *     FileSystem operations
 *        │            │
 *     names        FileReader, FileWriter, Truncater ──► Leases (size, chunk map, locks)
 *        │            │
 *        │         BlockReader, BlockWriter ──► Replication ──► Members ──► Groups, Stores
 *        ▼            ▼
 *     Session, Transactions, Ids, Holds ──► leader
 */
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import { groupsChanged, recallLease, sessionEnded } from "../wire/catalogue/leader.ts";
import { Service } from "../wire/service.ts";
import { BlockReader } from "./block-reader.ts";
import { BlockWriter } from "./block-writer.ts";
import { Extender } from "./extend.ts";
import { Groups } from "./groups.ts";
import { Holds } from "./holds.ts";
import { Ids } from "./ids.ts";
import { Leases } from "./leases.ts";
import { Members } from "./members.ts";
import { ReadAheadBudget } from "./read-ahead-cache.ts";
import { FileReader } from "./reader.ts";
import { Replication } from "./replication.ts";
import { Session, type SessionOptions } from "./session.ts";
import { Stores } from "./stores.ts";
import { Transactions } from "./transactions.ts";
import { Truncater } from "./truncate.ts";
import { FileWriter } from "./writer.ts";

/** For giving back leases and holds, and for the leader's answer to the end of the session. */
const closeTimeoutMs = 10_000;

export type MountSessionOptions = Omit<SessionOptions, "service">;

export class MountSession {
  readonly session: Session;
  readonly transactions: Transactions;
  readonly ids: Ids;
  readonly leases: Leases;
  readonly holds: Holds;
  readonly groups: Groups;
  readonly stores: Stores;
  readonly reader: FileReader;
  readonly writer: FileWriter;
  readonly truncater: Truncater;
  readonly #platform: Platform;

  private constructor(platform: Platform, log: Logger, session: Session) {
    this.#platform = platform;
    this.session = session;
    this.transactions = new Transactions(session, log);
    this.ids = new Ids((operation) => this.transactions.submit(operation));
    this.leases = new Leases(platform, session, new ReadAheadBudget());
    this.holds = new Holds(session, platform.clock);
    this.groups = new Groups(session);
    this.stores = new Stores(platform, {
      role: "client",
      clusterId: session.clusterId,
      peerId: session.clientId,
      description: `session ${session.id}`,
    });
    const members = new Members(platform.clock, log, session, this.stores, this.groups);
    const reader = new BlockReader(platform, log, session, members);
    const replication = new Replication(platform, members);
    const writer = new BlockWriter({ platform, log, session, members, replication, reader });
    const extender = new Extender(reader, writer);
    const { ids, transactions } = this;
    this.reader = new FileReader(platform.clock, reader);
    this.writer = new FileWriter({ reader, writer, extender, ids, transactions });
    this.truncater = new Truncater({ reader, writer, extender, ids, transactions });
  }

  /** Opens a session on the volume. Errors: see Session.open. */
  static async open(platform: Platform, options: MountSessionOptions): Promise<MountSession> {
    const log = platform.logger.for("client");
    /** Undefined until the session is open: until then there is nothing to state, send or lose. */
    let mount: MountSession | undefined;
    const service = new Service()
      .handle(recallLease, ({ inode }) => {
        mount?.leases.recall(inode);
        return {};
      })
      .handle(groupsChanged, ({ views }) => {
        mount?.groups.learn(views);
        return {};
      })
      .handle(sessionEnded, ({ session, reason }) => {
        if (session === mount?.session.id) mount.session.end(reason);
        return {};
      });
    const session = await Session.open(
      platform,
      { ...options, service },
      {
        holdings: () => ({
          holds: [...(mount?.holds.inodes() ?? []), ...(mount?.transactions.heldInodes() ?? [])],
          leases: mount?.leases.holdings() ?? [],
        }),
        connected: (peer) => mount?.transactions.connected(peer),
        lost: (reason) => mount?.lost(reason),
      },
    );
    mount = new MountSession(platform, log, session);
    if (session.peer !== undefined) mount.transactions.connected(session.peer);
    return mount;
  }

  get ended(): boolean {
    return this.session.ended;
  }

  /** Everything under way fails with EIO. */
  lost(reason: string): void {
    this.transactions.lost(reason);
    this.leases.lost(reason);
    this.stores.close();
  }

  /** Gives everything back and ends the session; if the leader can't be reached, the session expires there. */
  async close(): Promise<void> {
    const deadline = this.#platform.clock.startTimer(closeTimeoutMs, () => {
      this.session.abandon();
      this.lost("unmounted");
    });
    await this.leases.giveBackAll();
    await this.holds.flush();
    deadline.cancel();
    await this.session.close(closeTimeoutMs);
    this.lost("unmounted");
  }
}
