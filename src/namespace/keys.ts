/**
 * Keys of the namespace's rows: a byte for the table, then fixed-width big-endian numbers, so that the order of bytes is
 * the order of numbers; a name comes last.
 *
 * Building a key is the most frequent thing the namespace does, so each function fills one buffer of its own and returns
 * it: a key is valid until the next call of the same function. `kept` makes a lasting copy.
 */

export const table = {
  format: 0x00,
  header: 0x01,
  volume: 0x10,
  inode: 0x11,
  /** Entries by name. */
  entry: 0x12,
  /** Entries by cookie. */
  cookie: 0x13,
  /** Chunk maps: volume, inode, index → chunk. */
  mapping: 0x14,
  orphan: 0x15,
  /** Usage and limits: volume, kind, id. */
  quota: 0x16,
  /** Directories whose entries are still to be counted for, or taken out of, a quota: volume, tree, directory. */
  counting: 0x17,
  /** Chunk → volume, inode, index: the other direction of `mapping`. */
  owner: 0x20,
  deletion: 0x21,
  /** Chunk grants of sessions that ended: what is unused in them is to be deleted. */
  retired: 0x22,
  session: 0x30,
  result: 0x31,
  inodeGrant: 0x32,
  chunkGrant: 0x33,
  /** Session → its user. A mount's session has none. */
  sessionUser: 0x34,
  group: 0x40,
  store: 0x41,
  /** Volume and pool → group that got the last grant. */
  turn: 0x42,
  /** Volume → where its files go. A volume without rules has none. */
  placement: 0x43,
  /** Group → which members were in sync until which generation. Without a row: all are, or never were. */
  lastInSync: 0x44,
} as const;
export type TableNumber = (typeof table)[keyof typeof table];

/** Volumes stop below 2^16 − 1, so that the key after the last one of a volume can be written. */
export const volumeMax = 0xfffe;

const volumeAt = 1;
const inodeAt = 3;
const restAt = 11;

const shortKeys = new Map<TableNumber, Buffer>();
for (const number of Object.values(table)) shortKeys.set(number, Buffer.of(number));

/** The key of a table's only row, and the lower end of all its rows. */
export function tableKey(number: TableNumber): Buffer {
  return shortKeys.get(number)!;
}

/** The upper end of a table's rows. */
export function tableEnd(number: TableNumber): Buffer {
  return Buffer.of(number + 1);
}

const volumeBuffer = keyBuffer(table.volume, 3);
export function volumeKey(volume: number): Buffer {
  putU16(volumeBuffer, volumeAt, volume);
  return volumeBuffer;
}

const inodeBuffer = keyBuffer(table.inode, restAt);
export function inodeKey(volume: number, inode: number): Buffer {
  return volumeAndInode(inodeBuffer, volume, inode);
}

const entryBuffer = keyBuffer(table.entry, restAt + 255);
export function entryKey(volume: number, directory: number, name: string): Buffer {
  volumeAndInode(entryBuffer, volume, directory);
  const length = entryBuffer.write(name, restAt, "latin1");
  return entryBuffer.subarray(0, restAt + length);
}

/** The name in an entry's key. */
export function nameOfEntryKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1", restAt);
}

const cookieBuffer = keyBuffer(table.cookie, restAt + 8);
export function cookieKey(volume: number, directory: number, cookie: number): Buffer {
  volumeAndInode(cookieBuffer, volume, directory);
  putU64(cookieBuffer, restAt, cookie);
  return cookieBuffer;
}

export function cookieOfKey(key: Uint8Array): number {
  return readU64(key, restAt);
}

const mappingBuffer = keyBuffer(table.mapping, restAt + 4);
export function mappingKey(volume: number, inode: number, index: number): Buffer {
  volumeAndInode(mappingBuffer, volume, inode);
  putU32(mappingBuffer, restAt, index);
  return mappingBuffer;
}

export function indexOfMappingKey(key: Uint8Array): number {
  return readU32(key, restAt);
}

const quotaBuffer = keyBuffer(table.quota, inodeAt + 9);
export function quotaKey(volume: number, kind: number, id: number): Buffer {
  putU16(quotaBuffer, volumeAt, volume);
  quotaBuffer[inodeAt] = kind;
  putU64(quotaBuffer, inodeAt + 1, id);
  return quotaBuffer;
}

const countingBuffer = keyBuffer(table.counting, restAt + 8);
export function countingKey(volume: number, tree: number, directory: number): Buffer {
  volumeAndInode(countingBuffer, volume, tree);
  putU64(countingBuffer, restAt, directory);
  return countingBuffer;
}

export function directoryOfCountingKey(key: Uint8Array): number {
  return readU64(key, restAt);
}

/** Volume of a key of the tables inode, entry, cookie, mapping, quota and counting. */
export function volumeOfKey(key: Uint8Array): number {
  return key[volumeAt]! * 256 + key[volumeAt + 1]!;
}

/** Inode (or directory, or tree) of a key of the tables inode, entry, cookie, mapping and counting. */
export function inodeOfKey(key: Uint8Array): number {
  return readU64(key, inodeAt);
}

/** The lowest key of a volume in a table whose keys begin with the volume; of the next volume: the end. */
export function volumePrefix(number: TableNumber, volume: number): Buffer {
  const key = Buffer.alloc(inodeAt);
  key[0] = number;
  putU16(key, volumeAt, volume);
  return key;
}

const orphanKeyOf = numberKey(table.orphan);
export const orphanKey = (inode: number): Buffer => orphanKeyOf(inode);
const ownerKeyOf = numberKey(table.owner);
export const ownerKey = (chunk: number): Buffer => ownerKeyOf(chunk);
const deletionKeyOf = numberKey(table.deletion);
export const deletionKey = (chunk: number): Buffer => deletionKeyOf(chunk);
const retiredKeyOf = numberKey(table.retired);
export const retiredKey = (first: number): Buffer => retiredKeyOf(first);
const sessionKeyOf = numberKey(table.session);
export const sessionKey = (session: number): Buffer => sessionKeyOf(session);
const sessionUserKeyOf = numberKey(table.sessionUser);
export const sessionUserKey = (session: number): Buffer => sessionUserKeyOf(session);

/** The number in a key that has a table and one number. */
export function numberOfKey(key: Uint8Array): number {
  return readU64(key, 1);
}

const resultBuffer = keyBuffer(table.result, 17);
export function resultKey(session: number, sequence: number): Buffer {
  putU64(resultBuffer, 1, session);
  putU64(resultBuffer, 9, sequence);
  return resultBuffer;
}

const grantBuffer = keyBuffer(table.inodeGrant, 17);
/** By the sequence of the transaction that gave it: the order of grants is the order in which they were given. */
export function grantKey(
  number: typeof table.inodeGrant | typeof table.chunkGrant,
  session: number,
  sequence: number,
): Buffer {
  grantBuffer[0] = number;
  putU64(grantBuffer, 1, session);
  putU64(grantBuffer, 9, sequence);
  return grantBuffer;
}

/** The sequence in a key of results and grants. */
export function sequenceOfKey(key: Uint8Array): number {
  return readU64(key, 9);
}

const groupKeyOf = numberKey(table.group);
export const groupKey = (group: number): Buffer => groupKeyOf(group);
const storeKeyOf = numberKey(table.store);
export const storeKey = (store: number): Buffer => storeKeyOf(store);
const lastInSyncKeyOf = numberKey(table.lastInSync);
export const lastInSyncKey = (group: number): Buffer => lastInSyncKeyOf(group);
const turnKeyOf = numberKey(table.turn);
export const turnKey = (volume: number, pool: number): Buffer => turnKeyOf(volume * 2 ** 16 + pool);
const placementKeyOf = numberKey(table.placement);
export const placementKey = (volume: number): Buffer => placementKeyOf(volume);

/** A copy that lasts. */
export function kept(key: Uint8Array): Buffer {
  return Buffer.from(key);
}

function keyBuffer(number: TableNumber, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer[0] = number;
  return buffer;
}

function numberKey(number: TableNumber): (value: number) => Buffer {
  const buffer = keyBuffer(number, 9);
  return (value) => {
    putU64(buffer, 1, value);
    return buffer;
  };
}

function volumeAndInode(buffer: Buffer, volume: number, inode: number): Buffer {
  putU16(buffer, volumeAt, volume);
  putU64(buffer, inodeAt, inode);
  return buffer;
}

function putU16(buffer: Uint8Array, at: number, value: number): void {
  buffer[at] = value >>> 8;
  buffer[at + 1] = value;
}

function putU32(buffer: Uint8Array, at: number, value: number): void {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
}

function putU64(buffer: Uint8Array, at: number, value: number): void {
  putU32(buffer, at, Math.floor(value / 0x1_0000_0000));
  putU32(buffer, at + 4, value >>> 0);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * 0x1_0000_0000 + readU32(bytes, at + 4);
}
