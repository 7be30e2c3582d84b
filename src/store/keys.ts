/**
 * Keys of the store's index in its KeyValue: a letter for the kind, then numbers with the highest byte first, so that
 * keys sort as their numbers do.
 *
 *     m            meta record: format, log position, counters
 *     g            groups as the store knows them
 *     l CHUNK      a chunk of which blocks are lost
 *     b CHUNK BLK  a block whose data was found bad
 *     c CHUNK      extents of a chunk
 *     s SEGMENT    space of a segment
 *     r            how many bad blocks were repaired
 *     y KIND       where a scrub is: 0 the regular one, 1 one that was ordered
 *     z SEGMENT    blocks of zeros that a segment's records say
 */
const letters = {
  bad: code("b"),
  chunk: code("c"),
  groups: code("g"),
  lost: code("l"),
  meta: code("m"),
  repaired: code("r"),
  segment: code("s"),
  scrub: code("y"),
  zeros: code("z"),
};

function code(letter: string): number {
  return letter.charCodeAt(0);
}

export const metaKey = Uint8Array.of(letters.meta);
export const repairedKey = Uint8Array.of(letters.repaired);
export const badKeysStart = Uint8Array.of(letters.bad);
export const badKeysEnd = Uint8Array.of(letters.bad + 1);
export const lostKeysStart = Uint8Array.of(letters.lost);
export const lostKeysEnd = Uint8Array.of(letters.lost + 1);
export const groupsKey = Uint8Array.of(letters.groups);
export const segmentKeysStart = Uint8Array.of(letters.segment);
export const segmentKeysEnd = Uint8Array.of(letters.segment + 1);

export function chunkKey(chunk: number): Uint8Array {
  return numberKey(letters.chunk, chunk);
}

export function lostKey(chunk: number): Uint8Array {
  return numberKey(letters.lost, chunk);
}

export function segmentKey(segment: number): Uint8Array {
  return numberKey(letters.segment, segment);
}

export function zerosKey(segment: number): Uint8Array {
  return numberKey(letters.zeros, segment);
}

export function badBlockKey(chunk: number, block: number): Uint8Array {
  const key = Buffer.alloc(11);
  key.set(numberKey(letters.bad, chunk));
  key.writeUInt16BE(block, 9);
  return key;
}

export function badBlockOfKey(key: Uint8Array): { chunk: number; block: number } {
  return { chunk: numberOfKey(key), block: key[9]! * 256 + key[10]! };
}

export function scrubKey(kind: "regular" | "ordered"): Uint8Array {
  return Uint8Array.of(letters.scrub, kind === "regular" ? 0 : 1);
}

/** The number in a chunk's or segment's key. */
export function numberOfKey(key: Uint8Array): number {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  return view.getUint32(1) * 0x1_0000_0000 + view.getUint32(5);
}

function numberKey(letter: number, value: number): Uint8Array {
  const key = Buffer.allocUnsafe(9);
  key[0] = letter;
  key.writeUInt32BE(Math.floor(value / 0x1_0000_0000), 1);
  key.writeUInt32BE(value >>> 0, 5);
  return key;
}
