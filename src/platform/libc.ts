/** The few calls of the C library that Node does not offer, through koffi. Errors are errno names. */
import koffi from "koffi";

export const libc = koffi.load("libc.so.6");

const clockGettime = libc.func("int clock_gettime(int clock, void *time)");
const flock = libc.func("int flock(int fd, int operation)");
const fallocate = libc.func("int fallocate(int fd, int mode, int64 offset, int64 length)");
const mallocTrim = libc.func("int malloc_trim(size_t pad)");
const read = libc.func("int64 read(int fd, void *buffer, size_t count)");
const fadvise = libc.func("int posix_fadvise(int fd, int64 offset, int64 length, int advice)");

/** linux/time.h */
export const CLOCK_REALTIME = 0;
export const CLOCK_BOOTTIME = 7;
/** linux/falloc.h */
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
/** fcntl.h */
const POSIX_FADV_DONTNEED = 4;
/** sys/file.h */
const LOCK_EX = 2;
const LOCK_NB = 4;

const errnoNames = new Map<number, string>();
for (const [name, number] of Object.entries(koffi.os.errno)) errnoNames.set(number as number, name);
errnoNames.set(koffi.os.errno.EAGAIN as number, "EAGAIN"); // the same number as EWOULDBLOCK

// struct timespec on 64-bit Linux: two 64-bit integers, read as halves to stay clear of bigint.
const timespec = new Uint32Array(4);

/** Milliseconds with a fraction. About 100 ns a call. */
export function clockMs(clock: number): number {
  readClock(clock);
  const seconds = timespec[1]! * 0x1_0000_0000 + timespec[0]!;
  return seconds * 1000 + timespec[2]! / 1e6;
}

export function clockNs(clock: number): bigint {
  readClock(clock);
  return ((BigInt(timespec[1]!) << 32n) | BigInt(timespec[0]!)) * 1_000_000_000n + BigInt(timespec[2]!);
}

function readClock(clock: number): void {
  if (clockGettime(clock, timespec) !== 0) throw new Error(`clock_gettime(${clock}): ${lastErrno()}`);
}

/** Takes an exclusive lock on an open file, or says that another open file description has it (flock(2)). */
export function tryLock(fd: number): boolean {
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const error = libcError("flock");
  if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false;
  throw error;
}

/** read(2) of a descriptor that doesn't block: bytes read; -1 for any error, and if there is nothing. Some 300 ns. */
export function readNow(fd: number, into: Buffer): number {
  return read(fd, into, into.length);
}

/** fallocate(2) on a thread of the pool. Rejects with an Error that has `code`. */
export function allocateFile(fd: number, mode: number, offset: number, length: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fallocate.async(fd, mode, offset, length, (error: Error | null, result: number) => {
      if (error !== null) return reject(error);
      // koffi hands the errno of the finished call to this thread just before the callback.
      if (result === 0) return resolve();
      reject(libcError("fallocate"));
    });
  });
}

/** Clean pages of the range leave the page cache (posix_fadvise(2)). A file system that has none to give up may refuse. */
export function adviseNotNeeded(fd: number, offset: number, length: number): void {
  fadvise(fd, offset, length, POSIX_FADV_DONTNEED);
}

/** Pages of freed memory go back to the system (malloc_trim(3)). */
export function trimMemory(): void {
  mallocTrim(0);
}

/** Memory that begins at a multiple of `alignment`, a power of two, as O_DIRECT wants it. */
export function alignedMemory(bytes: number, alignment: number): Buffer {
  const memory = Buffer.allocUnsafeSlow(bytes + alignment);
  const behind = Number(koffi.address(memory) % BigInt(alignment));
  const start = behind === 0 ? 0 : alignment - behind;
  return memory.subarray(start, start + bytes);
}

/** What the last call of this thread failed with, as an Error with `code`. */
export function libcError(call: string): Error {
  const code = lastErrno();
  return Object.assign(new Error(`${call}: ${code}`), { code });
}

function lastErrno(): string {
  const number = koffi.errno();
  return errnoNames.get(number) ?? `errno ${number}`;
}
