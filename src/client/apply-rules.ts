/**
 * Applies a volume's placement rules to the files that are there, as a client among others.
 *
 * 1. The tree is walked. The path of each file says its pool; a file with chunks elsewhere is noted.
 * 2. What was noted is moved, chunk by chunk, some files at a time. Each move takes the file's lease from whoever uses it and gives
 *    it back, so nobody waits for longer than for one chunk.
 * 3. If there was more than can be noted, from the beginning.
 *
 * Nothing is remembered anywhere: whoever begins again finds what is left. A leader that dies is waited for, like by any client.
 */
import { FileError } from "../errors/file-error.ts";
import { textOf } from "../namespace/byte-strings.ts";
import { directoryEntries } from "./directory-entries.ts";
import type { DirectoryEntry, FileSystem } from "./file-system.ts";
import type { Misplaced, Placing } from "./placing.ts";

/** Some hundred bytes each. */
const notedMax = 100_000;
/** Files that are moved at the same time: enough that many small ones share each sync of stores and ledger. */
const moversMax = 32;
/** Paths in the report of what could not be moved. */
const failuresMax = 20;

export interface ApplyProgress {
  readonly chunks: number;
  /** Of what was found so far. */
  readonly chunksTotal: number;
  readonly bytes: number;
}

export interface ApplyReport {
  readonly filesSeen: number;
  readonly files: number;
  readonly chunks: number;
  readonly bytes: number;
  readonly failed: number;
  /** The first of them, with the reason. */
  readonly failures: readonly string[];
}

interface Noted extends Misplaced {
  readonly inode: number;
  readonly path: string;
  readonly pool: number;
}

export class RuleApplier {
  readonly #fileSystem: FileSystem;
  readonly #placing: Placing;
  readonly #progress: (progress: ApplyProgress) => void;
  #filesSeen = 0;
  #files = 0;
  #chunks = 0;
  #chunksTotal = 0;
  #bytes = 0;
  readonly #failed = new Set<number>();
  readonly #failures: string[] = [];
  /** With several names: the first one counts. */
  readonly #decided = new Set<number>();

  constructor(fileSystem: FileSystem, placing: Placing, progress: (progress: ApplyProgress) => void = () => {}) {
    this.#fileSystem = fileSystem;
    this.#placing = placing;
    this.#progress = progress;
  }

  async run(): Promise<ApplyReport> {
    for (let isAll = false; !isAll; ) {
      const noted: Noted[] = [];
      isAll = await this.#walk(noted);
      this.#chunksTotal = this.#chunks + noted.reduce((sum, { indexes }) => sum + indexes.length, 0);
      await this.#move(noted);
    }
    await this.#sync();
    return {
      filesSeen: this.#filesSeen,
      files: this.#files,
      chunks: this.#chunks,
      bytes: this.#bytes,
      failed: this.#failed.size,
      failures: this.#failures,
    };
  }

  async #sync(): Promise<void> {
    const root = await this.#fileSystem.open(this.#fileSystem.root, {});
    try {
      await this.#fileSystem.sync(root);
    } finally {
      this.#fileSystem.close(root);
    }
  }

  /** False if not everything could be noted. */
  async #walk(noted: Noted[]): Promise<boolean> {
    this.#filesSeen = 0;
    this.#decided.clear();
    const directories = [{ inode: this.#fileSystem.root, path: "" }];
    for (let next = directories.pop(); next !== undefined; next = directories.pop()) {
      const { inode, path } = next;
      for await (const entry of this.#entries(inode)) {
        const place = { inode: entry.inode, path: `${path}/${entry.name}` };
        if (entry.type === "directory") directories.push(place);
        else if (entry.type === "file") {
          if (noted.length === notedMax) return false;
          await this.#look(place, entry, noted);
        }
      }
    }
    return true;
  }

  async #look({ inode, path }: { inode: number; path: string }, entry: DirectoryEntry, noted: Noted[]): Promise<void> {
    const { linkCount = 2 } = entry.attributes ?? {};
    if (linkCount > 1 && this.#decided.has(inode)) return;
    if (linkCount > 1) this.#decided.add(inode);
    this.#filesSeen += 1;
    if (this.#failed.has(inode)) return;
    await unlessGone(async () => {
      const pool = await this.#placing.poolOf(inode, path);
      const misplaced = await this.#placing.misplaced(inode, pool);
      if (misplaced.isOfOtherPool || misplaced.indexes.length > 0) noted.push({ inode, path, pool, ...misplaced });
    });
  }

  async *#entries(directory: number): AsyncGenerator<DirectoryEntry> {
    try {
      yield* directoryEntries(this.#fileSystem, directory, true);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  async #move(noted: readonly Noted[]): Promise<void> {
    const left = noted.values();
    const mover = async () => {
      for (const file of left) await this.#moveFile(file);
    };
    await Promise.all(Array.from({ length: moversMax }, mover));
  }

  async #moveFile({ inode, path, pool, indexes }: Noted): Promise<void> {
    try {
      await unlessGone(async () => {
        let isPlaced = indexes.length > 1;
        // First, so that chunks which it gets meanwhile are in place; a single one brings it along.
        if (isPlaced) await this.#placing.setPool(inode, pool);
        for (const index of indexes) {
          const bytes = await this.#placing.moveChunk(inode, index, pool);
          if (bytes === undefined) continue;
          isPlaced = true;
          this.#chunks += 1;
          this.#bytes += bytes;
          this.#tell();
        }
        if (!isPlaced) await this.#placing.setPool(inode, pool);
      });
      this.#files += 1;
    } catch (error) {
      if (!(error instanceof FileError) || error.code === "ESTALE") throw error;
      this.#failed.add(inode);
      const reason = error.code === "ENOSPC" ? "the stores that the rule names have no room" : error.message;
      if (this.#failures.length < failuresMax) this.#failures.push(`${textOf(path)}: ${reason}`);
    }
  }

  #tell(): void {
    this.#progress({ chunks: this.#chunks, chunksTotal: this.#chunksTotal, bytes: this.#bytes });
  }
}

/** Undefined for what somebody has removed meanwhile. */
async function unlessGone<T>(body: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await body();
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof FileError && error.code === "ENOENT";
}
