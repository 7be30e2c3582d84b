/** Reads the commits of one segment one after the other: areas only, payloads are skipped. */
import { DiskError, type DiskFile } from "../platform/disk.ts";
import {
  areaBytesClaimed,
  blockBytes,
  type CommitHead,
  checksumOf,
  commitBytesMax,
  decodeArea,
} from "./segment-format.ts";
import type { LoggedRecord } from "./segment-log.ts";

export interface Commit extends CommitHead {
  readonly segment: number;
  /** Offset of the area. */
  readonly start: number;
  /** Offset behind the last payload block. */
  readonly end: number;
}

/** One read fetches several small commits; beside a large payload little is read in vain. */
const windowBytes = 64 * 1024;

export class SegmentScanner {
  readonly #file: DiskFile;
  readonly #logId: Uint8Array;
  readonly #segment: number;
  readonly #sizeBytes: number;
  readonly #window = Buffer.alloc(windowBytes);
  #windowStart = 0;
  #windowLength = 0;

  /** @param sizeBytes where the segment ends, or is to be taken to end */
  constructor(file: DiskFile, logId: Uint8Array, segment: number, sizeBytes: number) {
    this.#file = file;
    this.#logId = logId;
    this.#segment = segment;
    this.#sizeBytes = sizeBytes;
  }

  /** The commit at `offset` if its area is valid, whatever its sequence number; its payload is not looked at. */
  async commitAt(offset: number): Promise<Commit | undefined> {
    const roomBytes = this.#sizeBytes - offset;
    if (roomBytes < blockBytes) return undefined;
    const block = await this.#bytes(offset, blockBytes);
    if (block.byteLength < blockBytes) return undefined;
    const areaBytes = areaBytesClaimed(block, roomBytes);
    if (areaBytes === undefined) return undefined;
    // A copy: the descriptors stay views of it.
    const area = Buffer.from(await this.#bytes(offset, areaBytes));
    if (area.byteLength < areaBytes) return undefined;
    const head = decodeArea(area, this.#logId);
    if (head === undefined || head.payloadBytes > roomBytes - areaBytes) return undefined;
    return { ...head, segment: this.#segment, start: offset, end: offset + areaBytes + head.payloadBytes };
  }

  /** Commits from `offset` on that follow each other: a bounded number of them, none only where there is none. */
  async commitsFrom(offset: number): Promise<Commit[]> {
    const commits: Commit[] = [];
    let areasBytes = 0;
    for (let at = offset; areasBytes < windowBytes; at = commits.at(-1)!.end) {
      const commit = await this.commitAt(at);
      if (commit === undefined || commit.sequence !== (commits.at(-1)?.sequence ?? commit.sequence - 1) + 1) break;
      commits.push(commit);
      areasBytes += commit.areaBytes;
    }
    return commits;
  }

  /** The payload has the checksum that the area states. */
  async payloadIsWhole(commit: Commit): Promise<boolean> {
    const buffer = Buffer.alloc(Math.min(commit.payloadBytes, 1024 * 1024));
    let checksum = 0;
    for (let at = commit.start + commit.areaBytes; at < commit.end; ) {
      const part = buffer.subarray(0, commit.end - at);
      if ((await this.#file.read(part, at)) < part.byteLength) return false;
      checksum = checksumOf(part, checksum);
      at += part.byteLength;
    }
    return checksum === commit.payloadChecksum;
  }

  /** The block at `offset` was never written. */
  async isBlank(offset: number): Promise<boolean> {
    if (offset + blockBytes > this.#sizeBytes) return true;
    return (await this.#bytes(offset, blockBytes)).every((byte) => byte === 0);
  }

  async #bytes(offset: number, length: number): Promise<Buffer> {
    if (length > commitBytesMax) throw new RangeError(`${length} bytes of an area`);
    if (length > windowBytes) {
      const large = Buffer.alloc(length);
      return large.subarray(0, await this.#file.read(large, offset));
    }
    if (offset < this.#windowStart || offset + length > this.#windowStart + this.#windowLength) {
      this.#windowLength = 0;
      const windowLength = await this.#readWindow(offset, length);
      [this.#windowStart, this.#windowLength] = [offset, windowLength];
    }
    const from = offset - this.#windowStart;
    return this.#window.subarray(from, Math.min(from + length, this.#windowLength));
  }

  /** What else lies in the window is payload, perhaps: if the disk can't read that, `length` bytes are enough. */
  async #readWindow(offset: number, length: number): Promise<number> {
    try {
      return await this.#file.read(this.#window, offset);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      return this.#file.read(this.#window.subarray(0, length), offset);
    }
  }
}

/** The records of a commit, as the log's users see them. */
export function recordsOf(commit: Commit): LoggedRecord[] {
  const end = { segment: commit.segment, offset: commit.end };
  let payloadOffset = commit.start + commit.areaBytes;
  return commit.records.map(({ descriptor, payloadBytes }) => {
    const record = { descriptor, segment: commit.segment, payloadOffset, payloadBytes, end };
    payloadOffset += payloadBytes;
    return record;
  });
}
