/** A store in memory that answers clients, and fails as a test says. */
import { BrineError } from "../../../errors/brine-error.ts";
import { blockBytes } from "../../../namespace/model.ts";
import type { Platform } from "../../../platform/platform.ts";
import type { GroupView } from "../../../wire/catalogue/leader.ts";
import {
  cloneChunk,
  compareVersions,
  type Extent,
  type PartFailure,
  readBlocks,
  reportBad,
  type Version,
  type WritePart,
  writeBlocks,
} from "../../../wire/catalogue/store.ts";
import { verifyBlocks } from "../../../wire/checksum.ts";
import { listenPeers } from "../../../wire/listen.ts";
import { Service } from "../../../wire/service.ts";

/** Of all fakes. */
const clusterId = "c".repeat(32);

interface StoredBlock {
  readonly version: Version;
  readonly origin: number;
  readonly checksum: number;
  readonly data: Buffer;
}

type Verb = "write" | "read" | "clone";

export class FakeStore {
  readonly store: number;
  readonly chunks = new Map<number, Map<number, StoredBlock>>();
  readonly views = new Map<number, GroupView>();
  readonly fenced = new Set<number>();
  address = "127.0.0.1:0";
  /** Every write and clone is refused with noSpace. */
  full = false;
  /** Writes to these chunks are. */
  refuses: (chunk: number) => boolean = () => false;
  /** Runs before a request is executed; may throw or take its time. */
  before: (verb: Verb, chunk: number) => Promise<void> | void = () => {};
  /** Runs when it has been executed; may throw: the client then doesn't know. */
  after: (verb: Verb, chunk: number) => Promise<void> | void = () => {};
  readonly counts = { write: 0, read: 0, clone: 0, reportBad: 0 };
  readonly #platform: Platform;
  #listener: { close(): Promise<void> } | undefined;

  constructor(platform: Platform, store: number) {
    this.#platform = platform;
    this.store = store;
  }

  async start(): Promise<void> {
    const service = new Service()
      .handle(writeBlocks, (body, payload) => this.#writeParts(body, payload))
      .handle(readBlocks, (body) => this.#admit("read", body, [body.chunk], () => this.#read(body)))
      .handle(cloneChunk, (body) => this.#admit("clone", body, [body.chunk], () => this.#clone(body)))
      .handle(reportBad, () => {
        this.counts.reportBad += 1;
        return {};
      });
    const identity = () => ({ clusterId, serverId: String(this.store) });
    const listener = await listenPeers(this.#platform, this.address, { identity, service });
    this.address = listener.address;
    this.#listener = listener;
  }

  get isRunning(): boolean {
    return this.#listener !== undefined;
  }

  /** As a process that dies: connections end, nobody listens. What was acknowledged is still there. */
  async stop(): Promise<void> {
    await this.#listener?.close();
    this.#listener = undefined;
  }

  /** One bit of a block's data is flipped. */
  corrupt(chunk: number, block: number): void {
    this.chunks.get(chunk)!.get(block)!.data[17]! ^= 1;
  }

  async #admit<T>(
    verb: Verb,
    target: { session: number; group: number; generation: number },
    chunks: readonly number[],
    execute: () => T,
  ): Promise<T> {
    this.counts[verb] += 1;
    for (const chunk of chunks) await this.before(verb, chunk);
    const view = this.views.get(target.group);
    if (view?.generation !== target.generation) {
      throw new BrineError(
        "wrongGeneration",
        `group ${target.group} has ${view?.generation}, not ${target.generation}`,
      );
    }
    if (this.fenced.has(target.session)) throw new BrineError("sessionFenced", `session ${target.session}`);
    const state = view.members.find((member) => member.store === this.store)?.state;
    if (state === undefined || state === "behind" || (verb === "read" && state !== "inSync")) {
      throw new BrineError("notServing", `store ${this.store} is ${state}`);
    }
    const result = execute();
    for (const chunk of chunks) await this.after(verb, chunk);
    return result;
  }

  async #writeParts(
    body: { session: number; group: number; generation: number; parts: WritePart[] },
    payload: Uint8Array,
  ): Promise<{ failed: PartFailure[] }> {
    const chunks = body.parts.map(({ chunk }) => chunk);
    return this.#admit("write", body, chunks, () => {
      const failed: PartFailure[] = [];
      let from = 0;
      for (const [part, write] of body.parts.entries()) {
        const to = from + write.checksums.length * blockBytes;
        try {
          this.#write(write, payload.subarray(from, to));
        } catch (error) {
          const { code, message } = error as BrineError;
          failed.push({ part, code: code as PartFailure["code"], reason: message });
        }
        from = to;
      }
      return { failed };
    });
  }

  #write({ chunk, firstBlock, version, checksums }: WritePart, payload: Uint8Array): void {
    if (this.refuses(chunk)) throw new BrineError("noSpace", `store ${this.store} has no room, says the test`);
    if (verifyBlocks(payload, chunk, firstBlock, version, checksums) >= 0)
      throw new BrineError("badChecksum", "payload");
    const known = this.chunks.get(chunk);
    const isEqual = checksums.every((_, index) => {
      const block = known?.get(firstBlock + index);
      return block !== undefined && compareVersions(block.version, version) === 0;
    });
    if (isEqual) return;
    if (this.full) throw new BrineError("noSpace", `store ${this.store} is full`);
    const blocks = known ?? new Map<number, StoredBlock>();
    this.chunks.set(chunk, blocks);
    for (const [index, checksum] of checksums.entries()) {
      const present = blocks.get(firstBlock + index);
      if (present !== undefined && compareVersions(present.version, version) >= 0) {
        if (present.version.grant === version.grant) continue;
        throw new BrineError("superseded", `block ${firstBlock + index} of chunk ${chunk}`);
      }
      const data = Buffer.from(payload.subarray(index * blockBytes, (index + 1) * blockBytes));
      blocks.set(firstBlock + index, { version, origin: chunk, checksum, data });
    }
  }

  #read(body: { chunk: number; firstBlock: number; blockCount: number }) {
    const blocks = this.chunks.get(body.chunk);
    if (blocks === undefined) throw new BrineError("unknownChunk", `chunk ${body.chunk} at store ${this.store}`);
    const extents: Extent[] = [];
    const payload: Uint8Array[] = [];
    for (let index = body.firstBlock; index < body.firstBlock + body.blockCount; index++) {
      const block = blocks.get(index);
      if (block === undefined) continue;
      const last = extents.at(-1);
      const follows =
        last !== undefined &&
        last.firstBlock + last.checksums.length === index &&
        last.origin === block.origin &&
        compareVersions(last.version, block.version) === 0;
      if (follows) last.checksums.push(block.checksum);
      else {
        const { version, origin, checksum } = block;
        extents.push({ firstBlock: index, version, origin, checksums: [checksum] });
      }
      payload.push(block.data);
    }
    return { body: { extents }, payload };
  }

  #clone(body: { chunk: number; source: number; blockCount: number }): Record<never, never> {
    if (this.full) throw new BrineError("noSpace", `store ${this.store} is full`);
    const source = this.chunks.get(body.source);
    if (source === undefined) throw new BrineError("unknownChunk", `chunk ${body.source}`);
    const shared = [...source].filter(([index]) => index < body.blockCount);
    this.chunks.set(body.chunk, new Map(shared));
    return {};
  }
}
