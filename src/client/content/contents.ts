/**
 * File data of one session: what all its files share, and the place where it is put together.
 *
 *     FileContent (one a file) ── reader, writer, truncater
 *           │ dirty                    │ what is not here
 *           ▼                          ▼
 *       WriteBack ──► Replication ──► Members ──► Groups, Stores ◄── BlockReader
 *     bounded by DirtyBudget (dirty bytes), SpaceGrants (room on disks), BlockCache (clean bytes)
 */
import { FileError } from "../../errors/file-error.ts";
import type { OperationOf } from "../../namespace/operation.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Address } from "../../platform/network.ts";
import type { Platform } from "../../platform/platform.ts";
import { type GroupView, type PlacementAnswer, readMappings } from "../../wire/catalogue/leader.ts";
import type { Ids } from "../ids.ts";
import type { EntryData } from "../journal-entry.ts";
import type { Node } from "../node.ts";
import type { QuotaGrants } from "../quota-grants.ts";
import type { Session } from "../session.ts";
import type { Operation, WaitView } from "../waits.ts";
import { dataAgeFactor, type WriteBackLimits, writeBackLimits } from "../write-back-limits.ts";
import { BlockCache } from "./block-cache.ts";
import { BlockReader } from "./block-reader.ts";
import { BlockWriter } from "./block-writer.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { MapFetcher } from "./chunk-map.ts";
import { Clones } from "./clones.ts";
import { DirtyBudget } from "./dirty-budget.ts";
import { Extender } from "./extend.ts";
import { FileContent, type KnownMap } from "./file-content.ts";
import { Groups } from "./groups.ts";
import { Members } from "./members.ts";
import { Puncher } from "./punch.ts";
import { FileReader } from "./reader.ts";
import { Relocation } from "./relocation.ts";
import { Replication } from "./replication.ts";
import { Seeker } from "./seek.ts";
import { SpaceGrants } from "./space-grants.ts";
import { Stores } from "./stores.ts";
import { ThroughWriter } from "./through-writer.ts";
import { Truncater } from "./truncate.ts";
import { WriteBack } from "./write-back.ts";
import { FileWriter } from "./writer.ts";

export type { KnownMap } from "./file-content.ts";

/** What the journal is for file data. */
export interface DataJournal {
  /** Of the last entry. */
  readonly position: number;
  readonly committedPosition: number;
  readonly directoryPosition: number;
  /** Resolves when everything up to `position` is committed. Errors: EIO. */
  committed(position: number, operation?: Operation): Promise<void>;
  /** More data is on the stores: entries that waited for it can go. */
  dataDurable(): void;
  /** Data that was on its way waits for an entry all the same. */
  dataWaits(): void;
}

/**
 * Runs the rule on the cached records, under the exclusive lease, and puts the transaction into the journal, in one turn. Throws
 * LackingQuota: see within-quota.ts.
 */
export type Execute = (
  node: Node,
  operation: OperationOf<"write" | "unmap" | "setAttributes" | "place" | "markHoles">,
  data: EntryData | undefined,
) => number;

/** Data goes to the stores at the latest after `dataAgeFactor` times the age. */
export type ContentLimits = Pick<WriteBackLimits, "dirtyBytesMax" | "cacheBytesMax" | "dirtyAgeMs">;

export interface ContentsParts {
  readonly platform: Platform;
  readonly log: Logger;
  readonly session: Session;
  readonly ids: Ids;
  readonly journal: DataJournal;
  readonly quotas: QuotaGrants;
  readonly execute: Execute;
  /** Has `learnPlacement` called with what the leader knows now. Errors: EIO (the session has ended). */
  readonly readInSyncMins: () => Promise<void>;
  /** Default: `writeBackLimits`. */
  readonly limits?: Partial<ContentLimits>;
}

export class Contents {
  readonly platform: Platform;
  readonly log: Logger;
  readonly session: Session;
  readonly ids: Ids;
  readonly journal: DataJournal;
  readonly quotas: QuotaGrants;
  readonly execute: Execute;
  readonly pool = new BufferPool();
  readonly cache: BlockCache;
  readonly budget: DirtyBudget;
  readonly space: SpaceGrants;
  readonly replication: Replication;
  readonly blockReader: BlockReader;
  readonly blockWriter: BlockWriter;
  readonly writeBack: WriteBack;
  readonly extender: Extender;
  readonly reader: FileReader;
  readonly writer: FileWriter;
  readonly throughWriter: ThroughWriter;
  readonly truncater: Truncater;
  readonly puncher: Puncher;
  readonly seeker: Seeker;
  readonly clones: Clones;
  readonly relocation: Relocation;
  readonly #groups: Groups;
  readonly #members: Members;
  readonly #stores: Stores;
  #sequence = 0;
  #failure: FileError | undefined;

  constructor(parts: ContentsParts) {
    const { platform, log, session, ids, journal, quotas, execute, readInSyncMins, limits } = parts;
    const { dirtyBytesMax, cacheBytesMax, dirtyAgeMs } = { ...writeBackLimits, ...limits };
    this.platform = platform;
    this.log = log;
    this.session = session;
    this.ids = ids;
    this.journal = journal;
    this.quotas = quotas;
    this.execute = (node, operation, data) => {
      // Who waited for something when the session ended.
      if (this.#failure !== undefined) throw this.#failure;
      return execute(node, operation, data);
    };
    this.cache = new BlockCache(cacheBytesMax);
    this.budget = new DirtyBudget(dirtyBytesMax);
    this.#groups = new Groups(session, platform.clock, readInSyncMins);
    this.space = new SpaceGrants(platform.clock, log, session, (group) => this.#groups.writableOf(group));
    ids.roomIn = (group) => this.space.roomIn(group);
    this.#stores = new Stores(platform, {
      role: "client",
      clusterId: session.clusterId,
      peerId: session.clientId,
      description: `session ${session.id}`,
    });
    const members = new Members(platform.clock, log, session, this.#stores, this.#groups);
    this.#members = members;
    this.replication = new Replication(platform, members);
    this.blockReader = new BlockReader(platform, log, session, members);
    const { replication, blockReader, space } = this;
    this.blockWriter = new BlockWriter({ platform, log, session, members, replication, reader: blockReader, space });
    this.writeBack = new WriteBack(this, dirtyAgeMs * dataAgeFactor);
    this.budget.onPressure = () => this.writeBack.press();
    this.extender = new Extender(this);
    this.reader = new FileReader(this);
    this.writer = new FileWriter(this);
    this.throughWriter = new ThroughWriter(this);
    this.truncater = new Truncater(this);
    this.puncher = new Puncher(this);
    this.seeker = new Seeker(this);
    this.clones = new Clones(this);
    this.relocation = new Relocation(this);
  }

  /** The content of a file that is under a lease; for one that was made here, an empty map that is whole. */
  make(node: Node, map: KnownMap): FileContent {
    return new FileContent(this, node, map);
  }

  /** Lower part of the next version: never the same twice in a session, whatever becomes of leases. */
  nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  fetcherOf(inode: number): MapFetcher {
    return (from) => this.session.request(readMappings, { session: this.session.id, inode, from });
  }

  learnGroups(views: readonly GroupView[]): void {
    this.#groups.learn(views);
  }

  /** Of stores that this client has heard of, also after the session's end. */
  get storeAddresses(): Address[] {
    return this.#groups.addresses;
  }

  learnPlacement({ groups, slowStores }: Pick<PlacementAnswer, "groups" | "slowStores">): void {
    this.#groups.learnInSyncMins(new Map(groups.map(({ group, inSyncMin }) => [group, inSyncMin])));
    this.#members.calledSlow = new Set(slowStores);
  }

  /** Why data can't go to the stores now, for people: a group has fewer members in sync than its volume wants. */
  get lackOfCopies(): string | undefined {
    return this.replication.lack;
  }

  /** The leader wants grants of space back. */
  returnSpace(): void {
    this.space.recall();
  }

  /** Bytes that were written and are not on the stores yet. */
  get dirtyBytes(): number {
    return this.budget.bytes;
  }

  /** Bytes that are kept to be read again, or on their way to be. */
  get cachedBytes(): number {
    return this.cache.bytes;
  }

  /** What goes on besides operations, and what it waits for. */
  waits(): WaitView[] {
    return this.writeBack.list();
  }

  /** The session has ended, after all contents were told. */
  close(failure = new FileError("EIO", "the session has ended")): void {
    this.#failure = failure;
    this.budget.lost(failure);
    this.space.lost();
    this.writeBack.lost();
    this.#groups.wake();
    this.#stores.close();
  }
}
