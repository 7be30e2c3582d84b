/**
 * Bytes of a segment (docs/format.md, "Segments"): encoders and decoders, no I/O.
 *
 *     0        4 KiB                                                                segmentBytes
 *     ┌────────┬──────────────────────────┬──────────────────────────┬────────────────┐
 *     │ header │ area │ payload blocks …  │ area │ payload blocks …  │ zeros          │
 *     └────────┴──────────────────────────┴──────────────────────────┴────────────────┘
 *               └──────── commit ────────┘ └──────── commit ────────┘
 */
import { crc32c } from "@node-rs/crc32";
import { CodecError, Reader, Writer } from "../codec/buffers.ts";
import { shiftBy } from "../codec/crc32c-shift.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { Append } from "./append.ts";

/** Everything in a segment begins on a multiple of it: the page and the block of the disks in use. */
export const blockBytes = 4096;
export const formatVersion = 1;
/** The bytes of a commit, unless a single record has more. More would only make its first record wait longer. */
export const commitBytesMax = 8 * 1024 * 1024;
export const commitRecordsMax = 4096;
/** Holds the largest batch of the ledger (1 MiB) with room to spare. */
export const descriptorBytesMax = 2 * 1024 * 1024;

const headerMagic = Buffer.from("BRINESEG", "latin1");
const areaMagic = 0x4d4f_4342; // "BCOM"
const areaHeaderBytes = 48;
const recordHeaderBytes = 8;
const logIdBytes = 8;
const shiftByBlock = shiftBy(blockBytes);

export interface SegmentHeader {
  /** Four ASCII letters: whose log it is. */
  readonly kind: string;
  /** Random, the same in all segments of a log: another log's bytes, stored as payload, are never taken for our own. */
  readonly logId: Uint8Array;
  readonly segment: number;
  /** Sequence number of the first commit in this segment. All commits before it are whole and durable. */
  readonly firstSequence: number;
}

/** One record as its area describes it; its payload lies behind that of the records before. */
export interface RecordHead {
  readonly descriptor: Uint8Array;
  readonly payloadBytes: number;
}

export interface CommitHead {
  readonly sequence: number;
  readonly areaBytes: number;
  readonly payloadBytes: number;
  readonly payloadChecksum: number;
  readonly records: RecordHead[];
}

export function segmentName(segment: number): string {
  return `${segment.toString(16).padStart(16, "0")}.segment`;
}

/** The number of a segment by its file name, or undefined for another file. */
export function segmentOfName(name: string): number | undefined {
  const match = /^([0-9a-f]{16})\.segment$/.exec(name);
  return match === null ? undefined : Number.parseInt(match[1]!, 16);
}

export function roundUpToBlock(length: number): number {
  return Math.ceil(length / blockBytes) * blockBytes;
}

/** Bytes of the area for `count` records whose descriptors have `descriptorBytes` together. */
export function areaBytesFor(count: number, descriptorBytes: number): number {
  return roundUpToBlock(areaHeaderBytes + count * recordHeaderBytes + descriptorBytes);
}

export function encodeHeader(header: SegmentHeader): Uint8Array {
  const writer = new Writer(blockBytes);
  writer.raw(headerMagic);
  writer.u16(formatVersion);
  writer.latin1(header.kind);
  writer.raw(header.logId);
  writer.u64(header.segment);
  writer.u64(header.firstSequence);
  writer.u32(crc32c(writer.view()));
  writer.raw(zeros.subarray(0, blockBytes - writer.length));
  return writer.finish();
}

/**
 * The header of a segment file, or undefined if there is none (a segment that was being made when the power failed).
 * Errors: versionMismatch if a newer program wrote it.
 */
export function decodeHeader(block: Uint8Array, path: string): SegmentHeader | undefined {
  if (block.byteLength < blockBytes) return undefined;
  const reader = new Reader(block);
  if (!reader.raw(headerMagic.length).equals(headerMagic)) return undefined;
  // Magic and version stay where they are in all formats to come; what follows may change.
  const version = reader.u16();
  if (version > formatVersion) {
    throw new BrineError(
      "versionMismatch",
      `${path} has segment format ${version}, this program knows ${formatVersion}`,
      {
        advice: "start the version of brinefs that wrote it, or a newer one",
      },
    );
  }
  const kind = reader.latin1(4);
  const logId = Buffer.from(reader.raw(logIdBytes));
  const [segment, firstSequence] = [reader.u64(), reader.u64()];
  const checksum = crc32c(Buffer.from(block.buffer, block.byteOffset, reader.position));
  return reader.u32() === checksum ? { kind, logId, segment, firstSequence } : undefined;
}

/** Writes the area of a commit into `writer` (reset before), with its checksums. */
export function encodeArea(
  writer: Writer,
  logId: Uint8Array,
  sequence: number,
  records: readonly (Omit<Append, "descriptor" | "resolve" | "reject"> & { descriptor: Uint8Array })[],
): void {
  let [descriptorBytes, payloadBytes, payloadChecksum] = [0, 0, 0];
  for (const record of records) {
    descriptorBytes += record.descriptor.byteLength;
    payloadBytes += record.payloadBytes;
    const known = record.payloadChecksum;
    if (known !== undefined) payloadChecksum = joinedChecksum(payloadChecksum, known, record.payloadBytes);
    else for (const buffer of record.payload) payloadChecksum = checksumOf(buffer, payloadChecksum);
  }
  const areaBytes = areaBytesFor(records.length, descriptorBytes);
  writer.reset();
  writer.u32(areaMagic);
  writer.u32(0); // the area's checksum, below
  writer.u32(areaBytes);
  writer.u32(records.length);
  writer.raw(logId);
  writer.u64(sequence);
  writer.u64(payloadBytes);
  writer.u32(payloadChecksum);
  writer.u32(0);
  for (const { descriptor, payloadBytes: length } of records) {
    writer.u32(descriptor.byteLength);
    writer.u32(length);
    writer.raw(descriptor);
  }
  writer.raw(zeros.subarray(0, areaBytes - writer.length));
  writer.patchU32(4, crc32c(writer.view().subarray(8)));
}

/** Bytes of the area that begins with `block`, if it may be one that fits into `roomBytes`. Nothing is checked yet. */
export function areaBytesClaimed(block: Uint8Array, roomBytes: number): number | undefined {
  const reader = new Reader(block);
  if (reader.u32() !== areaMagic) return undefined;
  reader.u32();
  const areaBytes = reader.u32();
  const possible = areaBytes >= blockBytes && areaBytes % blockBytes === 0 && areaBytes <= commitBytesMax;
  return possible && areaBytes <= roomBytes ? areaBytes : undefined;
}

/** What a whole area says, or undefined if it is not a valid one of this log. The descriptors are views of it. */
export function decodeArea(area: Buffer, logId: Uint8Array): CommitHead | undefined {
  const reader = new Reader(area);
  reader.u32();
  if (reader.u32() !== crc32c(area.subarray(8))) return undefined;
  try {
    reader.u32();
    const count = reader.u32();
    if (!reader.raw(logIdBytes).equals(logId)) return undefined;
    const [sequence, payloadBytes, payloadChecksum] = [reader.u64(), reader.u64(), reader.u32()];
    reader.u32();
    const records: RecordHead[] = [];
    let payloadLeft = payloadBytes;
    for (let index = 0; index < count; index++) {
      const [descriptorBytes, length] = [reader.u32(), reader.u32()];
      records.push({ descriptor: reader.raw(descriptorBytes), payloadBytes: length });
      payloadLeft -= length;
    }
    if (payloadLeft !== 0) return undefined;
    return { sequence, areaBytes: area.byteLength, payloadBytes, payloadChecksum, records };
  } catch (error) {
    if (error instanceof CodecError) return undefined;
    throw error;
  }
}

/** Of two payloads one behind the other, from their checksums; the second one is whole blocks. */
function joinedChecksum(first: number, second: number, secondBytes: number): number {
  let shifted = first;
  for (let left = first === 0 ? 0 : secondBytes; left > 0; left -= blockBytes) shifted = shiftByBlock(shifted);
  return (shifted ^ second) >>> 0;
}

export function checksumOf(bytes: Uint8Array, before = 0): number {
  return crc32c(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), before);
}

const zeros = new Uint8Array(blockBytes);
