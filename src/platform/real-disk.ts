/** Files of the machine, through Node's thread pool and, for what Node lacks, through the C library. */
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type Disk, DiskError } from "./disk.ts";
import { tryLock } from "./libc.ts";
import { codeOf, diskError, tried } from "./real-disk-error.ts";
import { RealFile } from "./real-file.ts";

/** Bound of `readFile`: such files are settings, never data. */
const smallFileBytesMax = 16 * 1024 * 1024;

export const realDisk: Disk = {
  open(path, options = {}) {
    const { O_RDWR, O_CREAT, O_DSYNC } = fs.constants;
    return RealFile.open(path, O_RDWR | (options.create === true ? O_CREAT : 0) | (options.durable ? O_DSYNC : 0));
  },

  // Step by step: Node's recursive mkdir never ends where a directory can't be made although its parent is there, as in /proc.
  async makeDirectory(path) {
    const missing: string[] = [];
    for (let at = resolve(path); !(await isDirectory(at)); at = dirname(at)) missing.unshift(at);
    for (const directory of missing) {
      try {
        await fs.promises.mkdir(directory, { mode: 0o700 });
      } catch (error) {
        // Somebody else may have made it since.
        if (await isDirectory(directory)) continue;
        const isInTheWay = codeOf(error) === "EEXIST" && directory !== missing.at(-1);
        throw isInTheWay
          ? new DiskError("ENOTDIR", "mkdir", missing.at(-1)!, error)
          : diskError("mkdir", directory, error);
      }
    }
    // Each new directory is an entry of its parent.
    for (const directory of missing) await syncDirectory(dirname(directory));
  },

  async list(path) {
    try {
      return (await fs.promises.readdir(path)).sort();
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw diskError("readdir", path, error);
    }
  },

  async remove(path) {
    await tried("unlink", path, fs.promises.rm(path, { force: true }));
  },

  syncDirectory,

  async readFile(path) {
    try {
      const { size } = await fs.promises.stat(path);
      if (size > smallFileBytesMax) throw new DiskError("EFBIG", "read", path);
      return await fs.promises.readFile(path);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw diskError("read", path, error);
    }
  },

  async writeFile(path, content) {
    const temporary = join(dirname(path), `.${basename(path)}.new`);
    const file = await tried("open", temporary, fs.promises.open(temporary, "w", 0o600));
    try {
      await tried("write", temporary, file.writeFile(content));
      await tried("fdatasync", temporary, file.datasync());
    } finally {
      await file.close();
    }
    await tried("rename", path, fs.promises.rename(temporary, path));
    await syncDirectory(dirname(path));
  },

  async space(path) {
    const { bsize, blocks, bavail } = await tried("statfs", path, fs.promises.statfs(path));
    return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
  },

  lockDirectory: async (path) => lockDirectory(join(path, "lock")),
};

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await fs.promises.stat(path)).isDirectory();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(codeOf(error))) return false;
    throw diskError("stat", path, error);
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await tried("open", path, fs.promises.open(path, fs.constants.O_RDONLY));
  try {
    await tried("fsync", path, directory.sync());
  } finally {
    await directory.close();
  }
}

/**
 * Locks through a bare descriptor: a FileHandle that nobody holds would be closed by the garbage collector, and the
 * lock with it. The kernel drops the lock when the process dies.
 */
function lockDirectory(lockPath: string): { release(): void } {
  let descriptor: number;
  try {
    descriptor = fs.openSync(lockPath, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  } catch (error) {
    throw diskError("open", lockPath, error);
  }
  try {
    if (!tryLock(descriptor)) {
      const holder = fs.readFileSync(lockPath, "latin1").trim();
      throw new DiskError("EWOULDBLOCK", holder === "" ? "lock" : `lock (process ${holder} has it)`, lockPath);
    }
    fs.ftruncateSync(descriptor, 0);
    fs.writeSync(descriptor, `${process.pid}\n`, 0);
  } catch (error) {
    fs.closeSync(descriptor);
    throw diskError("lock", lockPath, error);
  }
  let held = true;
  return {
    release() {
      if (held) fs.closeSync(descriptor);
      held = false;
    },
  };
}
