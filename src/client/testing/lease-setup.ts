/**
 * Leases, giving back and fetching as they are, with a leader that answers when a test says so, a journal that commits when it
 * is told, and a kernel that keeps what the test wants.
 */
import { strict as assert } from "node:assert";
import type { FileError } from "../../errors/file-error.ts";
import type { InodeRecord } from "../../namespace/model.ts";
import type { LeasedInode, LeaseMode } from "../../wire/catalogue/leader.ts";
import type { Method } from "../../wire/method.ts";
import { settle, testPlatform } from "../../wire/testing/memory-network.ts";
import { Fetcher } from "../access.ts";
import { DirectoryNames } from "../directory-names.ts";
import { GivingBack } from "../giving-back.ts";
import type { Journal } from "../journal.ts";
import { Leases } from "../leases.ts";
import type { Node } from "../node.ts";
import type { LackingQuota, QuotaGrants } from "../quota-grants.ts";
import type { Session } from "../session.ts";
import { unusedLeaseLimits } from "../unused-leases.ts";
import { Operation } from "../waits.ts";

/** A request that waits for its answer. */
export interface Asked {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: each method has its own
  readonly body: any;
  answer(value?: unknown): Promise<void>;
  fail(error: Error): Promise<void>;
}

export function recordOf(inode: number, type: "file" | "directory" = "file", atimeNs = 0n): InodeRecord {
  return { attributes: { inode, type, atimeNs, linkCount: 1, size: 0 }, parent: 1 } as unknown as InodeRecord;
}

export function leased(inode: number, mode: LeaseMode, grant: number, more: Partial<LeasedInode> = {}): LeasedInode {
  const record = recordOf(inode);
  return { grant, mode, record, mappings: [], mappedBelow: 2 ** 32 - 1, foreignLocks: false, within: 0, ...more };
}

export class LeaseSetup {
  readonly platform = testPlatform();
  /** What the leader was asked and has not answered. */
  asked: Asked[] = [];
  /** All that happened that others can see, in its order. */
  readonly events: string[] = [];
  readonly session = {
    id: 1,
    coverGrant: 7,
    live: true,
    ended: false,
    whenLive: (_operation: Operation) => this.#whenLive.promise,
    request: (method: Method<unknown, unknown>, body: unknown) => this.#request(method.name, body),
  };
  #whenLive = Promise.withResolvers<void>();
  readonly journal = {
    committedPosition: 0,
    committed: (position: number) => {
      this.events.push(`commit up to ${position}`);
      return new Promise<void>((resolve) => this.#committing.push({ position, resolve }));
    },
  };
  #committing: { position: number; resolve: () => void }[] = [];
  readonly kernel = {
    withPages: new Set<number>(),
    forgetNames: () => void this.events.push("names forgotten"),
    forgetAttributes: (inode: number) => void this.events.push(`attributes of ${inode} forgotten`),
    mayHavePages: (inode: number) => this.kernel.withPages.has(inode),
    /** Files that were made by an answer which the kernel may not have taken. */
    new: new Set<number>(),
    settled: (inode: number) => {
      if (!this.kernel.new.delete(inode)) return undefined;
      this.events.push(`${inode} has to settle`);
      return new Promise<void>((resolve) => this.#settling.push(resolve));
    },
    forgetPages: (inode: number) => {
      this.events.push(`pages of ${inode} asked back`);
      return new Promise<void>((resolve) => this.#forgetting.push(resolve));
    },
  };
  #forgetting: (() => void)[] = [];
  #settling: (() => void)[] = [];
  /** Of these inodes there are advisory locks that the leader doesn't know. */
  readonly locked = new Set<number>();
  #stating: (() => void)[] = [];
  readonly quotasAsked: { lacking: LackingQuota; done: () => void }[] = [];
  quotasKept = 0;
  readonly leases: Leases;
  readonly givingBack: GivingBack;
  readonly fetcher: Fetcher;

  constructor() {
    const session = this.session as unknown as Session;
    this.givingBack = new GivingBack({
      session,
      journal: this.journal as unknown as Journal,
      log: this.platform.logger,
      caches: () => this.kernel,
      stateLocks: (inode) => {
        if (!this.locked.delete(inode)) return undefined;
        this.events.push(`locks of ${inode} stated`);
        return new Promise((resolve) => this.#stating.push(resolve));
      },
    });
    this.leases = new Leases({
      platform: this.platform,
      session,
      limits: unusedLeaseLimits,
      giveBack: (node) => this.givingBack.begin(node),
      giveBackUnknown: (inode, grant) => this.givingBack.giveBackUnknown(inode, grant),
      fresh: (node) => {
        if (node.record.attributes.type === "directory") node.names = new DirectoryNames(false);
      },
    });
    this.givingBack.attach(this.leases);
    const quotas: Pick<QuotaGrants, "obtain" | "keep"> = {
      obtain: (lacking) => new Promise<void>((resolve) => this.quotasAsked.push({ lacking, done: resolve })),
      keep: () => {
        this.quotasKept += 1;
        return () => {
          this.quotasKept -= 1;
        };
      },
    };
    this.fetcher = new Fetcher(this.leases, session, quotas as QuotaGrants);
  }

  operation(): Operation {
    return new Operation("test", 1, 0);
  }

  /** A lease that is held, as if it had come with an answer. */
  hold(inode: number, mode: LeaseMode, grant = inode, more: Partial<LeasedInode> = {}): Node {
    return this.leases.learn(leased(inode, mode, grant, more))!;
  }

  holdDirectory(inode: number, mode: LeaseMode = "shared", grant = inode): Node {
    return this.hold(inode, mode, grant, { record: recordOf(inode, "directory") });
  }

  /** Asks for a lease; what comes of it is looked at when it has settled. */
  use(inode: number, mode: LeaseMode, forData?: "read" | "write", takesSplit = false): Waiting {
    const operation = this.operation();
    return new Waiting(operation, async () => this.leases.use(inode, mode, operation, forData, takesSplit));
  }

  /** The only request that waits, which must be this one. Its answer is the caller's. */
  next(name: string): Asked {
    assert.deepEqual(
      this.asked.map((one) => one.name),
      [name],
    );
    return this.asked.shift()!;
  }

  async recall(inode: number, grant: number, wanted: LeaseMode): Promise<void> {
    this.leases.recall([{ inode, grant, wanted }]);
    await settle();
  }

  async commit(position: number): Promise<void> {
    this.journal.committedPosition = Math.max(this.journal.committedPosition, position);
    const done = this.#committing.filter((one) => one.position <= position);
    this.#committing = this.#committing.filter((one) => one.position > position);
    for (const one of done) one.resolve();
    await settle();
  }

  get isForgettingPages(): boolean {
    return this.#forgetting.length > 0;
  }

  /** The kernel has given up the pages that it was asked for. */
  async pagesForgotten(): Promise<void> {
    for (const resolve of this.#forgetting.splice(0)) resolve();
    await settle();
  }

  /** The kernel has taken the answers that made files. */
  async settled(): Promise<void> {
    for (const resolve of this.#settling.splice(0)) resolve();
    await settle();
  }

  /** The leader knows of the locks that it was told. */
  async locksStated(): Promise<void> {
    for (const resolve of this.#stating.splice(0)) resolve();
    await settle();
  }

  async endDoubt(): Promise<void> {
    this.session.live = true;
    this.#whenLive.resolve();
    await settle();
  }

  lose(failure: FileError): void {
    this.session.ended = true;
    this.session.live = false;
    this.leases.lost(failure);
    this.givingBack.lost();
  }

  #request(name: string, body: unknown): Promise<unknown> {
    this.events.push(name);
    return new Promise((resolve, reject) => {
      const answer = (value?: unknown) => {
        resolve(value);
        return settle();
      };
      const fail = (error: Error) => {
        reject(error);
        return settle();
      };
      this.asked.push({ name, body, answer, fail });
    });
  }
}

/** Somebody who has asked for a lease. */
export class Waiting {
  readonly operation: Operation;
  node: Node | undefined;
  error: unknown;

  constructor(operation: Operation, use: () => Promise<Node>) {
    this.operation = operation;
    use().then(
      (node) => {
        this.node = node;
      },
      (error) => {
        this.error = error;
      },
    );
  }

  get waits(): boolean {
    return this.node === undefined && this.error === undefined;
  }
}
