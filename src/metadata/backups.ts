/**
 * Backups of the metadata while it is in use. The state is copied beside itself (KeyValue's `copy`: one moment, without
 * stopping anybody), and the copy is read page by page by whoever asked, then removed. One backup at a time.
 */
import { BrineError } from "../errors/brine-error.ts";
import { Namespace } from "../namespace/namespace.ts";
import type { Timer } from "../platform/clock.ts";
import { DiskError } from "../platform/disk.ts";
import type { KeyValue, KeyValueEngine, KeyValueEntry } from "../platform/key-value.ts";
import { backupPageBytes } from "../wire/catalogue/admin.ts";
import type { Lifetime } from "./lifetime.ts";

/** Who asks writes what comes to a disk: that takes milliseconds. */
const idleMs = 60_000;
/** Rows of one page: KeyValue's bound for a scan. */
const rowsMax = 1000;
/** Above every key: one byte longer than the longest. */
const afterAllKeys = Buffer.alloc(1025, 0xff);

export interface BackupPage {
  readonly backup: number;
  readonly index: number;
  readonly rows: { key: Uint8Array; value: Uint8Array }[];
  readonly done: boolean;
}

interface Backup {
  readonly number: number;
  readonly copy: KeyValue;
  readonly index: number;
  idle: Timer;
}

export class Backups {
  readonly #engine: KeyValueEngine;
  readonly #state: KeyValue;
  readonly #path: string;
  readonly #lifetime: Lifetime;
  #lastNumber = 0;
  #isMaking = false;
  #current: Backup | undefined;

  /** `path`: where the copy is made; nothing else may use it. */
  constructor(parts: { engine: KeyValueEngine; state: KeyValue; path: string; lifetime: Lifetime }) {
    this.#engine = parts.engine;
    this.#state = parts.state;
    this.#path = parts.path;
    this.#lifetime = parts.lifetime;
  }

  /** Removes what a process that died has left. Errors: DiskError. */
  async start(): Promise<void> {
    await this.#engine.remove(this.#path);
  }

  /** The page behind the key `after`; `backup` 0 begins a new backup. Errors: busy, notFound, noSpace, diskFailed. */
  async read({ backup, after }: { backup: number; after: Uint8Array }): Promise<BackupPage> {
    const current = backup === 0 ? await this.#begin() : this.#current;
    if (current === undefined || (backup !== 0 && current.number !== backup)) {
      throw new BrineError("notFound", `backup ${backup} was given up`, { advice: "begin it again" });
    }
    const from = after.byteLength === 0 ? after : Buffer.concat([after, Buffer.of(0)]);
    const found = current.copy.scan(from, afterAllKeys, rowsMax);
    const rows = pageOf(found).map(([key, value]) => ({ key, value }));
    const done = rows.length === found.length && found.length < rowsMax;
    if (done) await this.#end(current);
    else this.#waitFor(current);
    return { backup: current.number, index: current.index, rows, done };
  }

  /** Ends a backup that is under way. */
  async stop(): Promise<void> {
    if (this.#current !== undefined) await this.#end(this.#current);
  }

  async #begin(): Promise<Backup> {
    if (this.#isMaking || this.#current !== undefined) {
      throw new BrineError("busy", "another backup of the metadata is under way", { advice: "try again in a minute" });
    }
    this.#isMaking = true;
    try {
      await this.#engine.remove(this.#path);
      this.#state.commit();
      await this.#engine.copy(this.#state, this.#path);
      if (this.#lifetime.stopped) throw new BrineError("notServing", "the metadata server stops");
      const copy = await this.#engine.open(this.#path);
      const { appliedIndex: index } = new Namespace(copy);
      this.#lastNumber += 1;
      const idle = this.#lifetime.startTimer(0, () => {});
      this.#current = { number: this.#lastNumber, copy, index, idle };
      return this.#current;
    } catch (error) {
      await this.#engine.remove(this.#path);
      if (!(error instanceof DiskError)) throw error;
      const code = error.code === "ENOSPC" ? "noSpace" : "diskFailed";
      throw new BrineError(code, `the metadata can't be copied for its backup: ${error.message}`, { cause: error });
    } finally {
      this.#isMaking = false;
    }
  }

  #waitFor(backup: Backup): void {
    backup.idle.cancel();
    backup.idle = this.#lifetime.startTimer(idleMs, () => {
      this.#lifetime.run("give a backup up", () => this.#end(backup));
    });
  }

  async #end(backup: Backup): Promise<void> {
    if (this.#current !== backup) return;
    this.#current = undefined;
    backup.idle.cancel();
    await backup.copy.close();
    await this.#engine.remove(this.#path);
  }
}

/** As many of the rows as go into one page, at least one. */
function pageOf(rows: readonly KeyValueEntry[]): readonly KeyValueEntry[] {
  let bytes = 0;
  for (const [index, [key, value]] of rows.entries()) {
    bytes += key.byteLength + value.byteLength;
    if (bytes > backupPageBytes && index > 0) return rows.slice(0, index);
  }
  return rows;
}
