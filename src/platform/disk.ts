/**
 * Files of a server's data directory. The simulation's disk drops what was not synced at a crash, tears the last
 * writes, rots, stalls and fills up. All errors are DiskError with the errno name (`ENOSPC`, `EIO`, …).
 */
export interface Disk {
  /**
   * Opens a file for reading and writing. `create`: made if missing. `durable`: each write is durable when it has returned
   * (O_DSYNC), which takes one call where a write and a sync take two. Errors: ENOENT, EACCES, EIO, ENOSPC.
   */
  open(path: string, options?: OpenOptions): Promise<DiskFile>;
  /** Creates a directory and its missing parents; no error if it is there. */
  makeDirectory(path: string): Promise<void>;
  /** Names in a directory, sorted; empty if the directory does not exist. */
  list(path: string): Promise<string[]>;
  /** Removes a file; no error if it is missing. Durable only after `syncDirectory`. */
  remove(path: string): Promise<void>;
  /** Makes creations, removals and renames in `path` durable (fsync of a directory). */
  syncDirectory(path: string): Promise<void>;
  /** A whole small file (≤ 16 MiB), or undefined if it is missing. */
  readFile(path: string): Promise<Uint8Array | undefined>;
  /** Replaces a file atomically and durably: temporary file, fdatasync, rename, sync of the directory. */
  writeFile(path: string, content: Uint8Array): Promise<void>;
  /** Space of the file system that holds `path`, in bytes. */
  space(path: string): Promise<{ totalBytes: number; freeBytes: number }>;
  /** Takes the directory for this process (flock on `path`/lock); EWOULDBLOCK if another process has it. */
  lockDirectory(path: string): Promise<{ release(): void }>;
}

export interface OpenOptions {
  readonly create?: boolean;
  readonly durable?: boolean;
}

export interface DiskFile {
  /** Fills `buffer` from `position`; returns the bytes read, fewer only at the end of the file. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Writes all buffers one after the other from `position` on (pwritev(2)); all or an error. */
  write(buffers: readonly Uint8Array[], position: number): Promise<void>;
  /** Makes written data, and the size needed to read it, durable (fdatasync(2)). */
  syncData(): Promise<void>;
  /** Reserves the bytes [position, position + length) and extends the size; they read as zeros (fallocate(2)). */
  allocate(position: number, length: number): Promise<void>;
  /** Gives the bytes back; they read as zeros afterwards (FALLOC_FL_PUNCH_HOLE). */
  punch(position: number, length: number): Promise<void>;
  /** Drops what memory has of these bytes, unless it is still to be written: the next read comes from the disk. */
  forget(position: number, length: number): Promise<void>;
  /** Size in bytes. */
  size(): Promise<number>;
  /** Bytes that it takes on the disk: without what was punched, with what is reserved (`st_blocks`). */
  allocatedBytes(): Promise<number>;
  /** Whether its path still leads to it: not if it, or a directory above it, was removed, replaced or covered by a mount. */
  isInPlace(): Promise<boolean>;
  close(): Promise<void>;
}

export class DiskError extends Error {
  readonly code: string;
  readonly path: string;
  constructor(code: string, operation: string, path: string, cause?: unknown) {
    super(`${operation} ${path}: ${code}`, { cause });
    this.name = "DiskError";
    this.code = code;
    this.path = path;
  }
}
