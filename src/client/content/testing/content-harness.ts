/**
 * Contents over fake stores in memory, with a journal and a leader that do what a test says. The leader's state is what a
 * crash of the client would leave: `committed` transactions, and what the stores have.
 */
import { FileError } from "../../../errors/file-error.ts";
import {
  blockBytes,
  chunkBytes,
  chunkNumbersPerGroup,
  type InodeRecord,
  type MemberState,
} from "../../../namespace/model.ts";
import type { Platform } from "../../../platform/platform.ts";
import { type GroupView, grantSpace, readGroups, readMappings, reportStore } from "../../../wire/catalogue/leader.ts";
import type { Method } from "../../../wire/method.ts";
import { settle, type TestPlatform, testPlatform } from "../../../wire/testing/memory-network.ts";
import type { Ids } from "../../ids.ts";
import { type EntryData, onlyOverwrites } from "../../journal-entry.ts";
import { Loan } from "../../loan.ts";
import { Node } from "../../node.ts";
import { QuotaGrants } from "../../quota-grants.ts";
import type { Session } from "../../session.ts";
import { Operation } from "../../waits.ts";
import { wholeMap } from "../chunk-map.ts";
import { type ContentLimits, Contents } from "../contents.ts";
import type { FileContent } from "../file-content.ts";
import { ReadPattern } from "../reader.ts";
import type { Room } from "../space-grants.ts";
import { noOtherChange } from "../truncate.ts";
import { type CommittedFile, FakeJournal, type FileOperation } from "./fake-journal.ts";
import { FakeStore } from "./fake-store.ts";

export interface HarnessOptions extends Partial<ContentLimits> {
  readonly stores?: number;
  readonly groups?: number;
  /** Members of each group, instead of `groups` with all stores. */
  readonly members?: readonly (readonly number[])[];
  /** Numbers from 0 to below the limit. */
  readonly random?: (limit: number) => number;
}

export class ContentHarness {
  /** What took effect on contents, in order. */
  readonly executed: FileOperation[] = [];
  readonly platform: TestPlatform;
  readonly stores: FakeStore[] = [];
  readonly journal = new FakeJournal();
  readonly contents: Contents;
  readonly quotas: QuotaGrants;
  readonly discarded: number[] = [];
  readonly spare: number[] = [];
  /** Space that the leader still grants for each group. */
  grantable = Number.POSITIVE_INFINITY;
  /** Groups for which it grants none. */
  readonly ungranted = new Set<number>();
  usedBytes = 0;
  grantedBytes = 0;
  returnedBytes = 0;
  generation = 1;
  inSyncMin = 1;
  reports = 0;
  /** Why the session ended. */
  endedBy: string | undefined;
  readonly #states = new Map<number, MemberState>();
  readonly #groups: number;
  readonly #members: readonly (readonly number[])[] | undefined;
  readonly #random: (limit: number) => number;
  #nextChunk = 1;
  #nextInode = 1;
  #turn = 0;
  readonly session: { id: number; ended: boolean; clusterId: string; clientId: string; volume: { name: string } };

  private constructor(options: HarnessOptions) {
    this.#random = options.random ?? (() => 0);
    this.#groups = options.members?.length ?? options.groups ?? 3;
    this.#members = options.members;
    const random = { bytes: (length: number) => Buffer.alloc(length), below: this.#random };
    this.platform = { ...testPlatform(), random };
    for (let store = 1; store <= (options.stores ?? 2); store++) {
      const fake = new FakeStore(this.platform as Platform, store);
      fake.address = `s:${store}`;
      this.stores.push(fake);
    }
    this.session = { id: 7, ended: false, clusterId: "c".repeat(32), clientId: "client", volume: { name: "home" } };
    const session = Object.assign(this.session, {
      end: (reason: string) => {
        this.endedBy = reason;
      },
      request: (method: Method<unknown, unknown>, body: never) => this.#answer(method, body),
    }) as unknown as Session;
    const quotaParts = { clock: this.platform.clock, session, journal: this.journal, quiet: () => Promise.resolve() };
    this.quotas = new QuotaGrants(quotaParts, 0);
    this.contents = new Contents({
      platform: this.platform,
      log: this.platform.logger,
      session,
      ids: this.#ids(),
      journal: this.journal,
      quotas: this.quotas,
      execute: (node, operation, data) => this.#execute(node, operation, data),
      readInSyncMins: () => this.tellInSyncMin(),
      limits: options,
    });
  }

  static async start(options: HarnessOptions = {}): Promise<ContentHarness> {
    const harness = new ContentHarness(options);
    for (const store of harness.stores) await store.start();
    harness.tellStores();
    return harness;
  }

  async stop(): Promise<void> {
    this.contents.close();
    for (const store of this.stores) await store.stop();
  }

  views(): GroupView[] {
    return Array.from({ length: this.#groups }, (_, group) => ({
      group: group + 1,
      generation: this.generation,
      members: this.stores
        .filter(({ store }) => this.#members?.[group]?.includes(store) ?? true)
        .map(({ store, address }) => ({ store, state: this.#states.get(store) ?? ("inSync" as const), address })),
    }));
  }

  tellStores(): void {
    for (const view of this.views()) for (const store of this.stores) store.views.set(view.group, view);
  }

  /** As the leader does when it has changed, and when the client asks. */
  tellInSyncMin(inSyncMin = this.inSyncMin): Promise<void> {
    this.inSyncMin = inSyncMin;
    const groups = this.views().map(({ group }) => ({ group, pool: 0, inSyncMin }));
    this.contents.learnPlacement({ groups, slowStores: [] });
    return Promise.resolve();
  }

  /** A new generation of all groups; the client learns of it when it meets it. */
  changeMember(store: number, state: MemberState): void {
    this.generation += 1;
    this.#states.set(store, state);
    this.tellStores();
  }

  /** A file that was made here, or one that the leader knows. */
  file(committed?: CommittedFile, inode = this.#nextInode++): FileContent {
    const size = committed?.size ?? 0;
    const attributes = { inode, type: "file", mode: 0o644, size, linkCount: 1 };
    const node = new Node(inode, { attributes } as InodeRecord);
    node.mode = "exclusive";
    node.grant = node.versionGrant = 5;
    const mappings = [...(committed?.chunks ?? [])].map(([index, chunk]) => ({ index, chunk }));
    node.content = this.contents.make(node, { mappings, mappedBelow: wholeMap });
    return node.content;
  }

  operation(name = "test"): Operation {
    return new Operation(name, 1, this.platform.clock.nowMs());
  }

  async write(content: FileContent, offset: number | undefined, bytes: Uint8Array): Promise<number> {
    return content.write({ offset, bytes, killPrivileges: false }, this.operation("write"));
  }

  async read(
    content: FileContent,
    offset: number,
    length: number,
    { pattern = new ReadPattern(), mayBeShort = false } = {},
  ): Promise<Buffer> {
    // Bytes that are lent, and such as are given away.
    const loan = length % 2 === 0 ? new Loan() : undefined;
    try {
      const request = { pattern, offset, length, loan, mayBeShort };
      return Buffer.concat((await content.read(request, this.operation("read"))) as Uint8Array[]);
    } finally {
      loan?.end();
    }
  }

  async zero(content: FileContent, { from, to }: { from: number; to: number }): Promise<void> {
    const asked = { offset: from, length: to - from, zero: true, grow: false };
    await content.allocate(asked, this.operation("zero"));
  }

  async setSize(content: FileContent, size: number): Promise<void> {
    await content.setSize({ size, ...noOtherChange }, this.operation("setSize"));
  }

  async move(content: FileContent, index: number): Promise<void> {
    await this.contents.relocation.move(content, index, 1, () => false, this.operation("move"));
  }

  /** Lets time pass until the promise settles. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    promise.then(
      () => (isSettled = true),
      () => (isSettled = true),
    );
    for (let round = 0; round < 2000 && !isSettled; round++) await this.platform.clock.advance(round < 5 ? 0 : 5);
    if (!isSettled) throw new Error("nothing happens any more");
    return promise;
  }

  settle(): Promise<void> {
    return settle();
  }

  /** The file as a new client would read it from one store; throws if a mapped chunk is not there. */
  stored(store: FakeStore, inode: number): Buffer {
    const { size, chunks } = this.journal.committedFiles.get(inode) ?? { size: 0, chunks: new Map() };
    const bytes = Buffer.alloc(Math.ceil(size / blockBytes) * blockBytes);
    for (const [index, chunk] of chunks) {
      const blocks = store.chunks.get(chunk);
      if (blocks === undefined) throw new Error(`store ${store.store} has never got chunk ${chunk}`);
      for (const [block, { data }] of blocks) {
        const at = index * chunkBytes + block * blockBytes;
        if (at < bytes.byteLength) data.copy(bytes, at);
      }
    }
    return bytes.subarray(0, size);
  }

  #execute(node: Node, operation: FileOperation, data: EntryData | undefined): number {
    this.executed.push(operation);
    const { attributes } = node.record;
    const { map } = node.content!;
    let { size } = attributes;
    const hasHoles = attributes.hasHoles || operation.kind === "markHoles";
    if (operation.kind === "unmap") for (let at = operation.from; at < operation.below; at++) map.delete(at);
    else if (operation.kind === "write") size = Math.max(size, operation.end);
    else if (operation.kind === "setAttributes" && operation.size !== undefined) {
      size = operation.size;
      for (const { index } of map.mappings(Math.ceil(size / chunkBytes), 1e9)) map.delete(index);
    }
    const mappings = "mappings" in operation ? operation.mappings : [];
    for (const { index, chunk } of mappings) map.set(index, chunk);
    node.record = { ...node.record, attributes: { ...attributes, size, hasHoles } };
    const position = this.journal.append(node.inode, operation, data);
    node.changed(position, onlyOverwrites(operation, data));
    return position;
  }

  #ids(): Ids {
    const fresh = () => {
      for (let tried = 0; tried < this.#groups; tried++) {
        this.#turn = (this.#turn + 1) % this.#groups;
        if (ids.roomIn(this.#turn + 1) !== "none") break;
      }
      return (this.#turn + 1) * chunkNumbersPerGroup + this.#nextChunk++;
    };
    const takeChunkOf = (group: number) =>
      this.#random(2) === 0 ? undefined : group * chunkNumbersPerGroup + this.#nextChunk++;
    const ids = {
      roomIn: (_group: number): Room => "ample",
      takeChunk: () => (this.#random(3) === 0 ? Promise.resolve(fresh()) : fresh()),
      takeChunkOf,
      giveBackChunk: (chunk: number) => this.spare.push(chunk),
      discardChunk: (chunk: number) => this.discarded.push(chunk),
    };
    return ids as unknown as Ids;
  }

  /** The leader looks itself. */
  #report(store: number): boolean {
    this.reports += 1;
    const { isRunning, full } = this.stores[store - 1]!;
    // One that catches up has missed the write. Nobody catches up here: so only if it would miss every other one, too.
    if (isRunning && !(full && this.#states.get(store) === "catchingUp")) return false;
    if (this.#states.get(store) !== "behind") this.changeMember(store, "behind");
    return true;
  }

  async #answer(method: Method<unknown, unknown>, body: unknown): Promise<unknown> {
    if (this.session.ended) throw new FileError("EIO", "the session has ended, says the test");
    if ((method as unknown) === readGroups) return { views: this.views() };
    if ((method as unknown) === reportStore) return { removed: this.#report((body as { store: number }).store) };
    if ((method as unknown) === readMappings) throw new Error("the maps are whole here");
    if ((method as unknown) !== grantSpace) throw new Error(`${method.name} is not answered here`);
    const { used, returned, wanted } = body as Parameters<typeof grantSpace.request.write>[1];
    for (const { bytes } of used) this.usedBytes += bytes;
    for (const { bytes } of returned) this.returnedBytes += bytes;
    const granted = wanted.map(({ group, bytes }) => {
      return { group, bytes: this.ungranted.has(group) ? 0 : Math.min(bytes, this.grantable) };
    });
    for (const { bytes } of granted) {
      this.grantedBytes += bytes;
      this.grantable -= bytes;
    }
    return { granted: granted.filter(({ bytes }) => bytes > 0) };
  }
}

/** Bytes that are other ones everywhere. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + seed * 97 + (index >>> 8)) & 0xff;
  return bytes;
}
