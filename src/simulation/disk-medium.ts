/**
 * What a host's disk holds, over all incarnations: files with synced and unsynced changes, and the directory entries that
 * lead to them, which are durable on their own, by the sync of their directory. Faults are set here.
 */
import { DiskError } from "../platform/disk.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import { StoredFile } from "./stored-file.ts";

export class DiskMedium {
  /** A sync of 1 GiB of data fits many times; lowered, it makes ENOSPC. */
  capacityBytes = 16 * 1024 ** 3;
  /** No operation completes before this moment. */
  stalledUntilUs = 0;
  /** Each operation takes up to so much longer. */
  slowUsMax = 0;
  /** The next so many syncs fail with EIO, and what they should have made durable stays volatile for good. */
  failingSyncs = 0;
  /** The next so many reads fail with EIO. */
  failingReads = 0;
  /** What is below this folder takes no space: it is as good as gone. */
  lostFolder: string | undefined;
  readonly #random: SimulatedRandom;
  readonly #directories = new Set<string>([""]);
  readonly #live = new Map<string, StoredFile>();
  readonly #durable = new Map<string, StoredFile>();
  readonly #locks = new Map<string, string>();
  /** Operations that were begun and not finished: what each would have done, or a part of it. */
  readonly #underWay = new Set<(random: SimulatedRandom) => void>();
  /** Reads, writes and syncs of files that are under way, in the order in which they began. */
  readonly #unanswered = new Set<{ readonly path: string; readonly sinceUs: number }>();

  constructor(random: SimulatedRandom) {
    this.#random = random;
  }

  get usedBytes(): number {
    let used = 0;
    for (const [path, file] of this.#live) {
      const isLost = this.lostFolder !== undefined && path.startsWith(`${this.lostFolder}/`);
      if (!isLost) used += file.usedBytes;
    }
    return used;
  }

  file(path: string): StoredFile | undefined {
    return this.#live.get(path);
  }

  /** The file at `path`, made if it isn't there; its entry is not durable before `syncDirectory`. Errors: ENOENT. */
  makeFile(path: string): StoredFile {
    const there = this.#live.get(path);
    if (there !== undefined) return there;
    if (!this.#directories.has(parentOf(path))) throw new DiskError("ENOENT", "open", path);
    const file = new StoredFile();
    this.#live.set(path, file);
    return file;
  }

  /** Makes the entry and the whole content durable at once. */
  replaceFile(path: string, content: Uint8Array): void {
    const file = this.makeFile(path);
    file.replace(content);
    this.#durable.set(path, file);
  }

  removeFile(path: string): void {
    this.#live.delete(path);
  }

  removeFolder(path: string): void {
    for (const names of [this.#live, this.#durable]) {
      for (const name of [...names.keys()]) if (name.startsWith(`${path}/`)) names.delete(name);
    }
  }

  makeDirectory(path: string): void {
    for (let at = path; at !== "" && !this.#directories.has(at); at = parentOf(at)) this.#directories.add(at);
  }

  list(directory: string): string[] {
    return this.#namesIn(this.#live, directory).sort();
  }

  /** The entries of a directory, to be passed to `entriesAreDurable` when the sync is over. */
  entries(directory: string): ReadonlyMap<string, StoredFile> {
    if (!this.#directories.has(directory)) throw new DiskError("ENOENT", "fsync", directory);
    return new Map(
      this.#namesIn(this.#live, directory).map((name) => {
        const path = `${directory}/${name}`;
        return [path, this.#live.get(path)!];
      }),
    );
  }

  entriesAreDurable(directory: string, entries: ReadonlyMap<string, StoredFile>): void {
    for (const name of this.#namesIn(this.#durable, directory)) this.#durable.delete(`${directory}/${name}`);
    for (const [path, file] of entries) this.#durable.set(path, file);
  }

  lock(directory: string, holder: string): void {
    const other = this.#locks.get(directory);
    if (other !== undefined) throw new DiskError("EWOULDBLOCK", `lock (${other} has it)`, directory);
    this.#locks.set(directory, holder);
  }

  unlock(directory: string, holder: string): void {
    if (this.#locks.get(directory) === holder) this.#locks.delete(directory);
  }

  /** Registers what an operation would do, until the returned function is called: at a crash it may be half done. */
  begin(effect: (random: SimulatedRandom) => void): () => void {
    this.#underWay.add(effect);
    return () => this.#underWay.delete(effect);
  }

  /** The process asks for something of a file, until the returned function is called. */
  asked(path: string, sinceUs: number): () => void {
    const question = { path, sinceUs };
    this.#unanswered.add(question);
    return () => this.#unanswered.delete(question);
  }

  unansweredSinceUs(folder: string): number | undefined {
    for (const { path, sinceUs } of this.#unanswered) if (path.startsWith(folder)) return sinceUs;
    return undefined;
  }

  /** The process died; the page cache is still there. Operations under way end, somehow. */
  processDied(): void {
    for (const effect of this.#underWay) if (this.#random.chance(0.5)) effect(this.#random);
    this.#underWay.clear();
    this.#unanswered.clear();
    this.#locks.clear();
  }

  /** The power was lost, after the process had died. */
  losePower(): void {
    for (const path of [...new Set([...this.#live.keys(), ...this.#durable.keys()])].sort()) {
      const [live, durable] = [this.#live.get(path), this.#durable.get(path)];
      if (live === durable) continue;
      const left = this.#random.chance(0.5) ? live : durable;
      for (const names of [this.#live, this.#durable]) {
        if (left === undefined) names.delete(path);
        else names.set(path, left);
      }
    }
    for (const path of [...this.#live.keys()].sort()) this.#live.get(path)!.losePower(this.#random);
  }

  #namesIn(files: ReadonlyMap<string, StoredFile>, directory: string): string[] {
    const names: string[] = [];
    for (const path of files.keys()) if (parentOf(path) === directory) names.push(path.slice(directory.length + 1));
    return names;
  }
}

export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}
