/**
 * The FUSE kernel protocol as numbers: opcodes, flags and the places of the fields in each structure.
 *
 * Everything here is from include/uapi/linux/fuse.h of Linux (protocol 7.31 to 7.45). Structures are little-endian as on
 * all machines that brinefs runs on; names of fields are the header's, written out. A structure's `bytes` is its size,
 * and names (NUL-terminated) or data follow behind it.
 */

export const protocolMajor = 7;
/** Linux 5.4: the oldest version whose structures are read here. It has MAX_PAGES and EXPLICIT_INVAL_DATA. */
export const protocolMinorMin = 31;
/** Linux 6.18: the newest version whose structures are known here. Newer kernels speak it when they are told it. */
export const protocolMinorMax = 45;

/** Largest READ and WRITE: 256 pages, the most that the kernel allows without a changed sysctl. */
export const dataBytesMax = 1024 * 1024;
/** A request buffer holds the largest WRITE with its headers (FUSE_MIN_READ_BUFFER is 8192). */
export const messageBytesMax = dataBytesMax + 4096;
/** FUSE_ROOT_ID: the node that a mount begins with. */
export const rootNode = 1;

export const opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  TMPFILE: 51,
  STATX: 52,
} as const;

const opcodeNames = new Map<number, string>(Object.entries(opcode).map(([name, number]) => [number, name]));

/** `LOOKUP` for 1; `opcode 99` for a number that has no name here. */
export function opcodeName(number: number): string {
  return opcodeNames.get(number) ?? `opcode ${number}`;
}

/** INIT flags, `flags` in the lower 32 bits and `flags2` above them. */
export const feature = {
  ASYNC_READ: 1n << 0n,
  POSIX_LOCKS: 1n << 1n,
  ATOMIC_O_TRUNC: 1n << 3n,
  EXPORT_SUPPORT: 1n << 4n,
  BIG_WRITES: 1n << 5n,
  DONT_MASK: 1n << 6n,
  FLOCK_LOCKS: 1n << 10n,
  ASYNC_DIO: 1n << 15n,
  PARALLEL_DIROPS: 1n << 18n,
  POSIX_ACL: 1n << 20n,
  MAX_PAGES: 1n << 22n,
  EXPLICIT_INVAL_DATA: 1n << 25n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  SETXATTR_EXT: 1n << 29n,
  /** The kernel reads `flags2` only if this is set. */
  INIT_EXT: 1n << 30n,
  DIRECT_IO_ALLOW_MMAP: 1n << 36n,
} as const;

/** What Linux 6.1 (Debian 12, protocol 7.37) offers: bits 0 to 30, and of the upper word SECURITY_CTX, HAS_INODE_DAX. */
export const linux61Features = 0x7fff_ffffn | (0b11n << 32n);

export const linux61Minor = 37;

/** Linux 6.18: after a write(2) it drops pages of mapped memory that were read while it was under way. */
export const keepPagesMinor = 45;

/** Bits of open_out.open_flags. KEEP_CACHE: pages need not be dropped. */
export const openReply = { DIRECT_IO: 1 << 0, KEEP_CACHE: 1 << 1, PARALLEL_DIRECT_WRITES: 1 << 6 } as const;
/** Bit of open_in.open_flags and create_in.open_flags: clear setuid and setgid while truncating. */
export const openKillPrivileges = 1 << 0;
/** Bits of write_in.write_flags. CACHE: written back from mapped pages, not by a write(2). */
export const writeFlag = { CACHE: 1 << 0, KILL_PRIVILEGES: 1 << 2 } as const;
/** Bit of read_in.read_flags. LOCKOWNER: asked by read(2); without it, into pages of mapped memory. */
export const readFlag = { LOCKOWNER: 1 << 1 } as const;
/** renameat2(2). */
export const renameFlag = { NOREPLACE: 1 << 0, EXCHANGE: 1 << 1 } as const;
/** open(2) on Linux, the same on x86-64 and arm64. */
export const openFlag = {
  ACCESS_MODE: 0o3,
  WRITE_ONLY: 0o1,
  READ_WRITE: 0o2,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  /** O_SYNC has this bit, too. */
  DSYNC: 0o10000,
  SYNC: 0o4010000,
  NOATIME: 0o1000000,
} as const;
/** statx(2): basic attributes and birth time. */
export const statxMask = 0xfff;

/** setattr_in.valid: which fields are meant. FH and LOCKOWNER only say who asks. */
export const setAttributesValid = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_PRIVILEGES: 1 << 11,
} as const;

/** st_mode's type bits, stat(2), inode(7). */
export const typeBits = {
  fifo: 0o010000,
  characterDevice: 0o020000,
  directory: 0o040000,
  blockDevice: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
} as const;
export const typeMask = 0o170000;
export const permissionMask = 0o7777;

// Structures: offsets of their fields.

export const inHeader = { length: 0, opcode: 4, unique: 8, node: 16, uid: 24, gid: 28, task: 32, bytes: 40 } as const;
export const outHeader = { length: 0, error: 4, unique: 8, bytes: 16 } as const;

export const initIn = {
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  flags2: 16,
  bytes: 16,
  extendedBytes: 64,
} as const;
export const initOut = {
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  maxBackground: 16,
  congestionThreshold: 18,
  maxWrite: 20,
  timeGranularity: 24,
  maxPages: 28,
  flags2: 32,
  bytes: 64,
} as const;

export const attr = {
  inode: 0,
  size: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimeNs: 48,
  mtimeNs: 52,
  ctimeNs: 56,
  mode: 60,
  linkCount: 64,
  uid: 68,
  gid: 72,
  device: 76,
  blockSize: 80,
  bytes: 88,
} as const;
export const entryOut = {
  node: 0,
  nameValidSeconds: 16,
  attributesValidSeconds: 24,
  nameValidNs: 32,
  attributesValidNs: 36,
  attr: 40,
  bytes: 128,
} as const;
export const attrOut = { validSeconds: 0, validNs: 8, attr: 16, bytes: 104 } as const;

export const statxOut = {
  validSeconds: 0,
  validNs: 8,
  mask: 32,
  blockSize: 36,
  linkCount: 48,
  uid: 52,
  gid: 56,
  mode: 60,
  inode: 64,
  size: 72,
  blocks: 80,
  atime: 96,
  btime: 112,
  ctime: 128,
  mtime: 144,
  deviceMajor: 160,
  deviceMinor: 164,
  bytes: 288,
} as const;

export const setAttributesIn = {
  valid: 0,
  size: 16,
  atime: 32,
  mtime: 40,
  ctime: 48,
  atimeNs: 56,
  mtimeNs: 60,
  ctimeNs: 64,
  mode: 68,
  uid: 76,
  gid: 80,
  bytes: 88,
} as const;

export const mknodIn = { mode: 0, device: 4, umask: 8, bytes: 16 } as const;
export const mkdirIn = { mode: 0, umask: 4, bytes: 8 } as const;
export const renameIn = { newDirectory: 0, bytes: 8 } as const;
export const rename2In = { newDirectory: 0, flags: 8, bytes: 16 } as const;
export const linkIn = { node: 0, bytes: 8 } as const;
/** CREATE and TMPFILE. */
export const createIn = { flags: 0, mode: 4, umask: 8, openFlags: 12, bytes: 16 } as const;

export const openIn = { flags: 0, openFlags: 4, bytes: 8 } as const;
export const openOut = { handle: 0, openFlags: 8, bytes: 16 } as const;
export const releaseIn = { handle: 0, bytes: 24 } as const;
export const flushIn = { handle: 0, lockOwner: 16, bytes: 24 } as const;
/** FSYNC and FSYNCDIR. */
export const fsyncIn = { handle: 0, flags: 8, bytes: 16 } as const;
/** FUSE_FSYNC_FDATASYNC. */
export const fsyncDataOnly = 1;
/** READ and READDIR. */
export const readIn = { handle: 0, offset: 8, size: 16, readFlags: 20, bytes: 40 } as const;
export const writeIn = { handle: 0, offset: 8, size: 16, writeFlags: 20, flags: 32, bytes: 40 } as const;
export const allocateIn = { handle: 0, offset: 8, length: 16, mode: 24, bytes: 32 } as const;
/** `mode` of FALLOCATE: linux/falloc.h. */
export const allocateFlag = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;
export const seekIn = { handle: 0, offset: 8, whence: 16, bytes: 24 } as const;
export const copyIn = { from: 0, offset: 8, to: 24, toOffset: 32, length: 40, flags: 48, bytes: 56 } as const;
export const seekOut = { offset: 0, bytes: 8 } as const;
/** `whence` of LSEEK: lseek(2). The kernel does the others itself. */
export const seekWhence = { DATA: 3, HOLE: 4 } as const;
export const writeOut = { size: 0, bytes: 8 } as const;

/** Followed by the name, and padded to 8 bytes. */
export const directoryEntry = { inode: 0, offset: 8, nameLength: 16, type: 20, bytes: 24 } as const;

export const statfsOut = {
  blocks: 0,
  freeBlocks: 8,
  availableBlocks: 16,
  files: 24,
  freeFiles: 32,
  blockSize: 40,
  nameLength: 44,
  fragmentSize: 48,
  bytes: 80,
} as const;

/** Followed by the name and the value. Without SETXATTR_EXT (Linux 5.12) it has the first 8 bytes only. */
export const setXattrIn = { size: 0, flags: 4, extendedFlags: 8, shortBytes: 8, bytes: 16 } as const;
/** Bit of `extendedFlags`: an ACL is set by someone who may not keep setgid. */
export const setXattrKillSetGroupId = 1 << 0;
/** Followed by the name. */
export const getXattrIn = { size: 0, bytes: 8 } as const;
export const getXattrOut = { size: 0, bytes: 8 } as const;
/** setxattr(2). */
export const xattrFlag = { CREATE: 1, REPLACE: 2 } as const;

/** Messages that the kernel has not asked for: `unique` is 0, and the code stands in the place of the error. */
export const notifyCode = { INVAL_INODE: 2, STORE: 4, INC_EPOCH: 8 } as const;
/** INC_EPOCH came with protocol 7.44, Linux 6.16. */
export const incEpochMinor = 44;
/** An offset below 0 leaves the pages alone; a length of 0 reaches to the end. */
export const invalInodeOut = { node: 0, offset: 8, length: 16, bytes: 24 } as const;
/** Behind it stand the bytes. */
export const storeOut = { node: 0, offset: 8, length: 16, bytes: 24 } as const;

/** GETLK, SETLK and SETLKW: struct fuse_file_lock from `start` on. */
export const lockIn = { handle: 0, owner: 8, start: 16, end: 24, type: 32, pid: 36, flags: 40, bytes: 48 } as const;
export const lockOut = { start: 0, end: 8, type: 16, pid: 20, bytes: 24 } as const;
/** fcntl(2). */
export const lockType = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;
/** Bit of lock_in.lk_flags: asked by flock(2). */
export const lockFlag = { FLOCK: 1 << 0 } as const;

export const forgetIn = { count: 0, bytes: 8 } as const;
/** Followed by `count` of the second. */
export const batchForgetIn = { count: 0, bytes: 8 } as const;
export const forgetOne = { node: 0, count: 8, bytes: 16 } as const;

export const interruptIn = { unique: 0, bytes: 8 } as const;
