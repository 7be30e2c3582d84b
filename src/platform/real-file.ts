/** An open file. Each call runs on a thread of Node's pool; `close` waits for the calls under way. */
import * as fs from "node:fs";
import { promisify } from "node:util";
import { DiskError, type DiskFile } from "./disk.ts";
import { adviseNotNeeded, allocateFile, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from "./libc.ts";
import { codeOf, diskError } from "./real-disk-error.ts";

const openDescriptor = promisify(fs.open);
const closeDescriptor = promisify(fs.close);
const fdatasync = promisify(fs.fdatasync);
const fstat = promisify(fs.fstat);
const stat = promisify(fs.stat);

/** Buffers in one pwritev(2): the kernel's IOV_MAX. */
const buffersMax = 1024;
/** Unit of `st_blocks`, whatever the file system's is: stat(2). */
const statBlockBytes = 512;

export class RealFile implements DiskFile {
  readonly #path: string;
  readonly #descriptor: number;
  /** Calls that use the descriptor now: closing it under them could hit a file opened later under its number. */
  #busy = 0;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  static async open(path: string, flags: number): Promise<RealFile> {
    try {
      return new RealFile(path, await openDescriptor(path, flags, 0o600));
    } catch (error) {
      throw diskError("open", path, error);
    }
  }

  private constructor(path: string, descriptor: number) {
    this.#path = path;
    this.#descriptor = descriptor;
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return this.#using("read", async () => {
      let done = 0;
      while (done < buffer.byteLength) {
        const count = await readSome(this.#descriptor, buffer, done, position + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    });
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.#using("write", async () => {
      let at = position;
      let waiting: readonly Uint8Array[] = buffers.filter((buffer) => buffer.byteLength > 0);
      // In one call: with O_DSYNC each is a sync.
      if (waiting.length > buffersMax) waiting = [Buffer.concat(waiting)];
      while (waiting.length > 0) {
        const count = await writeSome(this.#descriptor, waiting, at);
        if (count === 0) throw new DiskError("EIO", "write", this.#path);
        at += count;
        waiting = withoutFirst(waiting, count);
      }
    });
  }

  syncData(): Promise<void> {
    return this.#using("fdatasync", () => fdatasync(this.#descriptor));
  }

  allocate(position: number, length: number): Promise<void> {
    return this.#using("fallocate", () => allocateFile(this.#descriptor, 0, position, length));
  }

  punch(position: number, length: number): Promise<void> {
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return this.#using("punch", async () => {
      try {
        await allocateFile(this.#descriptor, mode, position, length);
      } catch (error) {
        // A file system without holes keeps the space; that the bytes read as zeros is then up to us.
        if (codeOf(error) !== "EOPNOTSUPP") throw error;
        await this.#writeZeros(position, length);
      }
    });
  }

  forget(position: number, length: number): Promise<void> {
    return this.#using("fadvise", async () => adviseNotNeeded(this.#descriptor, position, length));
  }

  size(): Promise<number> {
    return this.#using("fstat", async () => (await fstat(this.#descriptor)).size);
  }

  allocatedBytes(): Promise<number> {
    return this.#using("fstat", async () => (await fstat(this.#descriptor)).blocks * statBlockBytes);
  }

  isInPlace(): Promise<boolean> {
    return this.#using("stat", async () => {
      const own = await fstat(this.#descriptor, { bigint: true });
      try {
        const there = await stat(this.#path, { bigint: true });
        return there.ino === own.ino && there.dev === own.dev;
      } catch (error) {
        if (["ENOENT", "ENOTDIR"].includes(codeOf(error))) return false;
        throw error;
      }
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#busy > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    try {
      await closeDescriptor(this.#descriptor);
    } catch (error) {
      throw diskError("close", this.#path, error);
    }
  }

  async #writeZeros(position: number, length: number): Promise<void> {
    const size = (await fstat(this.#descriptor)).size;
    const end = Math.min(position + length, size);
    const zeros = new Uint8Array(1024 * 1024);
    for (let at = position; at < end; ) {
      at += await writeSome(this.#descriptor, [zeros.subarray(0, end - at)], at);
    }
  }

  async #using<T>(operation: string, action: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw new DiskError("EBADF", operation, this.#path);
    this.#busy += 1;
    try {
      return await action();
    } catch (error) {
      throw diskError(operation, this.#path, error);
    } finally {
      this.#busy -= 1;
      if (this.#busy === 0) this.#idle?.();
    }
  }
}

function readSome(descriptor: number, buffer: Uint8Array, from: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(descriptor, buffer, from, buffer.byteLength - from, position, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}

function writeSome(descriptor: number, buffers: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.writev(descriptor, buffers, position, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}

/** What is left of the buffers after their first `count` bytes. */
function withoutFirst(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let index = 0;
  let left = count;
  while (index < buffers.length && left >= buffers[index]!.byteLength) {
    left -= buffers[index]!.byteLength;
    index += 1;
  }
  const rest = buffers.slice(index);
  if (left > 0) rest[0] = rest[0]!.subarray(left);
  return rest;
}
