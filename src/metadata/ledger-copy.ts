/**
 * The second copy of the ledger, on a server that doesn't lead: writes what the leader sends to its own log, and applies it to
 * its own state, so that it can lead at once.
 *
 * What is applied may be more than what was acknowledged: the last entries before a leader died. A leader that starts again
 * takes them over; and where the logs have parted, log and state are replaced together.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { Voter } from "../ledger/copies/voter.ts";
import { createFileLedger, FileLedger } from "../ledger/file/file-ledger.ts";
import type { LedgerEntry } from "../ledger/ledger.ts";
import { Namespace } from "../namespace/namespace.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import type { BackupRow } from "../wire/catalogue/admin.ts";
import { entriesBytesMax, entriesMax } from "../wire/catalogue/ledger.ts";
import { decodeBatch } from "./batch.ts";
import { Lifetime } from "./lifetime.ts";

const uncommittedMax = 20_000;

export interface LedgerCopyOptions {
  /** Of the metadata. */
  readonly directory: string;
  readonly voter: Voter;
  readonly checkpointMs: number;
}

/** Of a copy that can lead. */
export interface CopyFacts {
  /** Of the last entry. */
  readonly lastIndex: number;
  /** That it knows of. */
  readonly stores: readonly { readonly store: number; readonly address: Address }[];
}

/** The leader of a term, on one of its connections. What comes late of an earlier one, after it has attached on a later one, is refused. */
export interface Sender {
  readonly term: number;
  readonly leader: string;
  readonly connection: object;
}

export class LedgerCopy {
  readonly #platform: Platform;
  readonly #options: LedgerCopyOptions;
  readonly #log: Logger;
  readonly #lifetime: Lifetime;
  #file: FileLedger;
  #state: KeyValue;
  #namespace: Namespace;
  /** Rows of the leader's state are coming in: log and state are of no use until they are all here. */
  #isReplacing = false;
  /** The connection on which the leader attached last. */
  #attached: object | undefined;
  #closed = false;
  #failure: unknown;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    platform: Platform,
    options: LedgerCopyOptions,
    opened: { file: FileLedger; state: KeyValue; namespace: Namespace },
  ) {
    this.#platform = platform;
    this.#options = options;
    this.#log = platform.logger.for("ledger");
    this.#lifetime = new Lifetime(platform.clock, this.#log);
    this.#file = opened.file;
    this.#state = opened.state;
    this.#namespace = opened.namespace;
  }

  /** Errors: badChecksum, versionMismatch, diskFailed, DiskError. */
  static async open(platform: Platform, options: LedgerCopyOptions): Promise<LedgerCopy> {
    await platform.disk.makeDirectory(options.directory);
    const copy = new LedgerCopy(platform, options, await openFiles(platform, options.directory));
    await copy.#replay();
    copy.#lifetime.run("checkpoints", () => copy.#checkpoints());
    return copy;
  }

  get lastIndex(): number {
    return this.#file.lastIndex;
  }

  /** Undefined: the copy is not whole, and can't lead. */
  get facts(): CopyFacts | undefined {
    const isWhole = !this.#isReplacing && this.#failure === undefined && this.#file.lastIndex > 0;
    return isWhole ? factsOf(this.#file, this.#namespace) : undefined;
  }

  attach(sender: Sender): Promise<{ lastIndex: number; lastTerm: number }> {
    return this.#inTurn(sender, async () => {
      this.#attached = sender.connection;
      // A replacement that was broken off is begun again.
      if (this.#isReplacing) return { lastIndex: Number.MAX_SAFE_INTEGER, lastTerm: 0 };
      return { lastIndex: this.#file.lastIndex, lastTerm: this.#file.lastEntryTerm };
    });
  }

  /** Errors: closed (not attached on this connection), invalid (they don't follow). */
  append(sender: Sender, entries: readonly LedgerEntry[]): Promise<void> {
    return this.#inTurn(sender, async () => {
      this.#checkAttached(sender);
      await this.#file.appendAll(entries);
      for (const { index, batch } of entries) this.#apply(index, batch);
    });
  }

  /** Errors: notFound. */
  entries(sender: Sender, from: number): Promise<LedgerEntry[]> {
    return this.#inTurn(sender, async () => {
      const entries: LedgerEntry[] = [];
      let bytes = 0;
      for await (const entry of this.#file.read(from)) {
        bytes += entry.batch.byteLength;
        if (entries.length === entriesMax || (entries.length > 1 && bytes > entriesBytesMax)) break;
        entries.push(entry);
      }
      return entries;
    });
  }

  /** Errors: closed, invalid (a part without its beginning). */
  replace(
    sender: Sender,
    part: { first: boolean; rows: readonly BackupRow[]; done: boolean; last: LedgerEntry | undefined },
  ): Promise<void> {
    return this.#inTurn(sender, async () => {
      this.#checkAttached(sender);
      if (part.first) await this.#empty();
      else if (!this.#isReplacing) throw new BrineError("invalid", "a part of a state without its beginning");
      for (const { key, value } of part.rows) this.#state.put(key, value);
      if (this.#state.uncommittedCount >= uncommittedMax) this.#state.commit();
      if (part.done) await this.#fill(part.last);
    });
  }

  /** Ends what is under way, and closes the files. Idempotent. */
  async close(): Promise<void> {
    this.#lifetime.stop();
    this.#closed = true;
    await this.#turn;
    if (this.#failure === undefined) await this.#state.close();
    await this.#file.close();
  }

  #checkAttached({ connection }: Sender): void {
    if (connection !== this.#attached) throw new BrineError("closed", "the leader has another connection to this copy");
  }

  async #replay(): Promise<void> {
    for await (const { index, batch } of this.#file.read(this.#namespace.appliedIndex + 1)) this.#apply(index, batch);
    this.#state.commit();
  }

  #apply(index: number, batch: Uint8Array): void {
    this.#namespace.applyBatch(index, decodeBatch(batch));
    if (this.#state.uncommittedCount >= uncommittedMax) this.#state.commit();
  }

  async #empty(): Promise<void> {
    this.#log.info("the copy's log is not the beginning of the leader's: log and state are replaced");
    const { directory } = this.#options;
    await this.#platform.disk.writeFile(markPath(directory), Buffer.of(1));
    this.#isReplacing = true;
    await this.#file.close();
    await this.#state.close();
    await removeFiles(this.#platform, directory);
    this.#state = await this.#platform.keyValue.open(statePath(directory));
  }

  async #fill(last: LedgerEntry | undefined): Promise<void> {
    const { directory } = this.#options;
    await this.#state.close();
    if (last !== undefined) {
      const { term, index, batch } = last;
      await createFileLedger(this.#platform, `${directory}/ledger`, { term, index, last: batch });
    }
    await removeMark(this.#platform, directory);
    ({ file: this.#file, state: this.#state, namespace: this.#namespace } = await openFiles(this.#platform, directory));
    this.#isReplacing = false;
    this.#log.info("the copy has the leader's state", { index: this.#file.lastIndex });
  }

  async #checkpoints(): Promise<void> {
    while (!this.#lifetime.stopped) {
      await this.#lifetime.sleep(this.#options.checkpointMs);
      if (this.#lifetime.stopped) return;
      await this.#enqueue(async () => {
        if (this.#isReplacing || this.#lifetime.stopped) return;
        const index = this.#namespace.appliedIndex;
        if (index === 0) return;
        this.#state.commit();
        await this.#state.checkpoint();
        // The one before the last stays: a leader that starts again may end with it, and goes on from there (adopt.ts).
        await this.#file.truncate(index - 1);
      }).catch((error: unknown) => {
        this.#log.warn("no checkpoint of the ledger's copy", { reason: String(error) });
      });
    }
  }

  /** One after the other, and for the leader that was promised alone. */
  #inTurn<T>({ term, leader }: Sender, work: () => Promise<T>): Promise<T> {
    return this.#enqueue(async () => {
      this.#options.voter.check(term, leader);
      if (this.#failure !== undefined) throw this.#failure;
      try {
        return await work();
      } catch (error) {
        const isHarmless =
          error instanceof BrineError && ["noSpace", "notFound", "invalid", "closed"].includes(error.code);
        if (!isHarmless) this.#failure = error;
        throw error;
      }
    });
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => {
      if (this.#closed) throw new BrineError("notServing", "the ledger's copy is closed");
      return work();
    });
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** Of a copy that isn't open; undefined if it can't lead: it has no entries, or a replacement was broken off. Errors: as open. */
export async function copyFacts(platform: Platform, directory: string): Promise<CopyFacts | undefined> {
  if ((await platform.disk.readFile(markPath(directory))) !== undefined) return undefined;
  const { file, state, namespace } = await openFiles(platform, directory);
  const facts = file.lastIndex > 0 ? factsOf(file, namespace) : undefined;
  await state.close();
  await file.close();
  return facts;
}

function factsOf({ lastIndex }: FileLedger, namespace: Namespace): CopyFacts {
  const stores = namespace.stores().filter(({ status }) => status !== "removed");
  return { lastIndex, stores: stores.map(({ store, address }) => ({ store, address })) };
}

function statePath(directory: string): string {
  return `${directory}/state.sqlite`;
}

/** There while log and state are being replaced: then neither is believed, and the next start removes both, then the mark. */
function markPath(directory: string): string {
  return `${directory}/replacing`;
}

/** Errors: badChecksum (log and state don't fit), versionMismatch, diskFailed, DiskError. */
async function openFiles(
  platform: Platform,
  directory: string,
): Promise<{ file: FileLedger; state: KeyValue; namespace: Namespace }> {
  if ((await platform.disk.readFile(markPath(directory))) !== undefined) {
    // In this order: the mark goes when nothing is left that it speaks of, and before anything new is there. A mark that stayed
    // would have the next start remove what has been acknowledged since.
    await removeFiles(platform, directory);
    await removeMark(platform, directory);
  }
  const file = await FileLedger.open(platform, `${directory}/ledger`);
  const state = await platform.keyValue.open(statePath(directory));
  const namespace = new Namespace(state);
  const { appliedIndex } = namespace;
  if (appliedIndex <= file.lastIndex && appliedIndex + 1 >= file.firstIndex) return { file, state, namespace };
  await file.close();
  await state.close();
  throw new BrineError(
    "badChecksum",
    `the state has entry ${appliedIndex}, the ledger has ${file.firstIndex} to ${file.lastIndex}`,
    { advice: `move the folder ${directory} away: the copy is then made anew` },
  );
}

async function removeMark({ disk }: Platform, directory: string): Promise<void> {
  await disk.remove(markPath(directory));
  await disk.syncDirectory(directory);
}

/** Durable when it resolves. */
async function removeFiles({ disk, keyValue }: Platform, directory: string): Promise<void> {
  const ledger = `${directory}/ledger`;
  for (const name of await disk.list(ledger)) await disk.remove(`${ledger}/${name}`);
  await disk.syncDirectory(ledger);
  await keyValue.remove(statePath(directory));
}
