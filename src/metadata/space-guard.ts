/**
 * Watches the free space of the metadata's disk. Below a reserve, what would grow the namespace is refused with ENOSPC,
 * so that deleting, closing and healing still find room in ledger and database.
 *
 *     free ──────────────┬───────────────────────────────────┬──────────────────────────┬── 0
 *          write-back    │ write-through: clients answer     │ reserve: what grows is   │
 *                        │ changes when they are committed   │ refused                  │
 *
 * Write-through begins early enough that everything which clients have acknowledged by then still finds room.
 */
import type { OperationKind } from "../namespace/operation.ts";
import type { Disk } from "../platform/disk.ts";
import type { Logger } from "../platform/logger.ts";
import type { Lifetime } from "./lifetime.ts";

/** Four segments of the ledger, and what the database writes between two checkpoints. */
const reserveBytesMax = 64 * 1024 * 1024;
/** Of a small disk (in tests, on a small partition) a part. */
const reserveFraction = 1 / 20;
/** What a change takes in ledger and database, with the pages that are rewritten for it; a create was seen to take 1.2 KB. */
const bytesPerChange = 2048;
/** Changes that a client may have acknowledged and not sent: the limit of its journal (client/journal.ts). */
const changesPerSession = 8192;
/** Changes in a second, at most, and the seconds until all clients have heard: a look here, and a heartbeat. */
const changesUntilHeard = 50_000 * 2;
/** Of a small disk a part: what it can't take is refused, and stays in the clients' journals. */
const writeThroughFraction = 1 / 4;
/** A disk of 1 GB/s could take the reserve in less; metadata grows by a few MB/s. */
const lookIntervalMs = 1_000;

const growing: ReadonlySet<OperationKind> = new Set([
  "create",
  "createUnnamed",
  "link",
  "write",
  "grantInodes",
  "grantChunks",
  "grantChunksOf",
  "openSession",
  "bindSession",
  "createVolume",
]);

export class SpaceGuard {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #lifetime: Lifetime;
  readonly #log: Logger;
  #isLow = false;
  /** Why it isn't known, as was said last. */
  #unknown: string | undefined;
  #space: { readonly totalBytes: number; readonly freeBytes: number } | undefined;

  constructor(parts: { disk: Disk; directory: string; lifetime: Lifetime; log: Logger }) {
    this.#disk = parts.disk;
    this.#directory = parts.directory;
    this.#lifetime = parts.lifetime;
    this.#log = parts.log;
  }

  get isLow(): boolean {
    return this.#isLow;
  }

  /** Whether clients must answer a change only when it is committed, with so many sessions. */
  mustWriteThrough(sessions: number): boolean {
    if (this.#space === undefined) return false;
    const { totalBytes, freeBytes } = this.#space;
    const acknowledged = (sessions * changesPerSession + changesUntilHeard) * bytesPerChange;
    return freeBytes < Math.min(reserveBytes(totalBytes) + acknowledged, totalBytes * writeThroughFraction);
  }

  /** Whether there is room for an operation of this kind. */
  hasRoomFor(kind: OperationKind): boolean {
    return !this.#isLow || !growing.has(kind);
  }

  start(): void {
    this.#lifetime.run("look at free space", () => this.#watch());
  }

  async #watch(): Promise<void> {
    while (!this.#lifetime.stopped) {
      await this.#look();
      await this.#lifetime.sleep(lookIntervalMs);
    }
  }

  async #look(): Promise<void> {
    try {
      const { totalBytes, freeBytes } = await this.#disk.space(this.#directory);
      this.#space = { totalBytes, freeBytes };
      this.#unknown = undefined;
      const isLow = freeBytes < reserveBytes(totalBytes);
      if (isLow === this.#isLow || this.#lifetime.stopped) return;
      this.#isLow = isLow;
      if (isLow) this.#log.warn("the metadata's disk is full: new files are refused", { freeBytes });
      else this.#log.info("the metadata's disk has room again", { freeBytes });
    } catch (error) {
      if (this.#unknown === String(error)) return;
      this.#unknown = String(error);
      this.#log.warn("free space is not known", { directory: this.#directory, error: this.#unknown });
    }
  }
}

function reserveBytes(totalBytes: number): number {
  return Math.min(reserveBytesMax, totalBytes * reserveFraction);
}
