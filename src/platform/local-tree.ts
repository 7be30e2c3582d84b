/** The machine's own files, as a tree to copy from and to. */
import { type BigIntStats, constants } from "node:fs";
import * as fs from "node:fs/promises";
import { type FileTree, pieceBytes, type TreeEntry } from "./file-tree.ts";

const nsPerSecond = 1_000_000_000;

export class LocalTree implements FileTree {
  readonly #written = new Set<string>();

  async look(path: string, follow: boolean): Promise<TreeEntry | undefined> {
    try {
      return entryOf(await (follow ? fs.stat(path, { bigint: true }) : fs.lstat(path, { bigint: true })));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  async list(path: string): Promise<string[]> {
    return (await fs.readdir(path)).sort();
  }

  async *read(path: string): AsyncGenerator<Uint8Array> {
    const file = await fs.open(path);
    try {
      const buffer = Buffer.allocUnsafe(pieceBytes);
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, pieceBytes);
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  readLink(path: string): Promise<string> {
    return fs.readlink(path);
  }

  async write(path: string, entry: TreeEntry, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const file = await fs.open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
    try {
      for await (const piece of pieces) await file.writeFile(piece);
      await file.chmod(entry.mode);
      await file.utimes(seconds(entry), seconds(entry));
      await file.sync();
    } finally {
      await file.close();
    }
    this.#written.add(path.slice(0, path.lastIndexOf("/")) || "/");
  }

  async makeDirectory(path: string): Promise<void> {
    await fs.mkdir(path, { recursive: true, mode: 0o700 });
    this.#written.add(path);
  }

  async finishDirectory(path: string, entry: TreeEntry): Promise<void> {
    await fs.chmod(path, entry.mode);
    await fs.utimes(path, seconds(entry), seconds(entry));
  }

  async makeSymlink(path: string, target: string): Promise<void> {
    if ((await this.look(path, false)) !== undefined) await fs.unlink(path);
    await fs.symlink(target, path);
  }

  async sync(): Promise<void> {
    for (const directory of this.#written) {
      const opened = await fs.open(directory);
      await opened.sync();
      await opened.close();
    }
    this.#written.clear();
  }
}

function entryOf(stats: BigIntStats): TreeEntry {
  const type = stats.isFile()
    ? "file"
    : stats.isDirectory()
      ? "directory"
      : stats.isSymbolicLink()
        ? "symlink"
        : "other";
  return { type, size: Number(stats.size), mode: Number(stats.mode) & 0o7777, mtimeNs: stats.mtimeNs };
}

function seconds({ mtimeNs }: TreeEntry): number {
  return Number(mtimeNs) / nsPerSecond;
}
