/**
 * The file of a metadata backup (docs/format.md, "Backup of the metadata"): sections, each with its length and checksum. The last
 * one says how many rows there were: a file that was cut off, or whose sections were mixed up, is never taken for whole.
 */
import { CodecError } from "../codec/buffers.ts";
import { decode, encode, i64, list, struct, text, u32, u64, union } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { DiskFile } from "../platform/disk.ts";
import { type BackupRow, backupRow } from "../wire/catalogue/admin.ts";
import { crc32c } from "../wire/crc32c.ts";

const magic = "BRINEBAK";
const formatVersion = 1;
const headBytes = 16;
/** Before each section: its number, bytes and checksum. */
const frameBytes = 12;
/** A page of the protocol has far less. */
const sectionBytesMax = 16 * 1024 * 1024;

export const backupHead = struct({
  clusterId: text(64),
  /** Index of the ledger's entry applied last, and the term of the leader that made the backup. */
  index: u64,
  term: u64,
  madeNs: i64,
});

const section = union({
  head: backupHead,
  rows: struct({ rows: list(backupRow, 65_536) }),
  end: struct({ rows: u64, sections: u32 }),
});

export interface BackupHead {
  clusterId: string;
  index: number;
  term: number;
  madeNs: bigint;
}

export class BackupWriter {
  readonly #file: DiskFile;
  #offset = 0;
  #sections = 0;
  #rows = 0;

  private constructor(file: DiskFile) {
    this.#file = file;
  }

  static async begin(file: DiskFile, head: BackupHead): Promise<BackupWriter> {
    const writer = new BackupWriter(file);
    const start = Buffer.alloc(headBytes);
    start.write(magic, "latin1");
    start.writeUInt16LE(formatVersion, magic.length);
    await file.write([start], 0);
    writer.#offset = headBytes;
    await writer.#write(encode(section, { kind: "head", ...head }));
    return writer;
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.#offset;
  }

  async add(rows: BackupRow[]): Promise<void> {
    this.#rows += rows.length;
    await this.#write(encode(section, { kind: "rows", rows }));
  }

  /** The backup is whole and durable when this resolves. */
  async end(): Promise<void> {
    await this.#write(encode(section, { kind: "end", rows: this.#rows, sections: this.#sections }));
    await this.#file.syncData();
  }

  async #write(body: Buffer): Promise<void> {
    const frame = Buffer.alloc(frameBytes);
    frame.writeUInt32LE(this.#sections, 0);
    frame.writeUInt32LE(body.byteLength, 4);
    frame.writeUInt32LE(checksumOf(frame, body), 8);
    await this.#file.write([frame, body], this.#offset);
    this.#offset += frameBytes + body.byteLength;
    this.#sections += 1;
  }
}

/**
 * The head, then all rows in the order of their keys; ends only if the file is whole.
 * Errors: badChecksum (damaged or cut off), versionMismatch, invalid (no backup).
 */
export async function* readBackup(
  file: DiskFile,
  path: string,
): AsyncGenerator<{ head: BackupHead } | { rows: BackupRow[] }> {
  await checkStart(file, path);
  let offset = headBytes;
  let [sections, rows] = [0, 0];
  for (;;) {
    const { content, bytes } = await readSection(file, path, offset, sections);
    if ((content.kind === "head") !== (sections === 0)) throw damage(path, `section ${sections} is out of place`);
    if (content.kind === "end") {
      if (content.rows !== rows || content.sections !== sections) throw damage(path, `${rows} rows of ${content.rows}`);
      return;
    }
    if (content.kind === "rows") {
      rows += content.rows.length;
      yield { rows: content.rows };
    } else {
      const { clusterId, index, term, madeNs } = content;
      yield { head: { clusterId, index, term, madeNs } };
    }
    offset += bytes;
    sections += 1;
  }
}

async function checkStart(file: DiskFile, path: string): Promise<void> {
  const start = Buffer.alloc(headBytes);
  const length = await file.read(start, 0);
  if (length < headBytes || start.toString("latin1", 0, magic.length) !== magic) {
    throw new BrineError("invalid", `${path} is no backup of metadata`, {
      advice: "name a file of brine backup-metadata",
    });
  }
  const version = start.readUInt16LE(magic.length);
  if (version !== formatVersion) {
    throw new BrineError(
      "versionMismatch",
      `${path} has format version ${version}, this brinefs knows ${formatVersion}`,
      {
        advice: "use the brinefs that wrote it, or a newer one",
      },
    );
  }
}

async function readSection(file: DiskFile, path: string, offset: number, number: number) {
  const frame = Buffer.alloc(frameBytes);
  if ((await file.read(frame, offset)) < frameBytes) throw damage(path, `it ends at ${offset}, before its end section`);
  const length = frame.readUInt32LE(4);
  const sizeLeft = (await file.size()) - offset - frameBytes;
  if (length > Math.min(sectionBytesMax, sizeLeft)) throw damage(path, `section ${number} has ${length} bytes`);
  const body = Buffer.alloc(length);
  await file.read(body, offset + frameBytes);
  const isGood = frame.readUInt32LE(0) === number && frame.readUInt32LE(8) === checksumOf(frame, body);
  if (!isGood) throw damage(path, `the checksum of section ${number} is wrong`);
  try {
    return { content: decode(section, body), bytes: frameBytes + length };
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw damage(path, `section ${number}: ${error.message}`);
  }
}

/** Over the section's number, its length and its content. */
function checksumOf(frame: Buffer, body: Buffer): number {
  return crc32c(body, 0, body.byteLength, crc32c(frame, 0, 8));
}

function damage(path: string, what: string): BrineError {
  return new BrineError("badChecksum", `${path} is damaged: ${what}`, { advice: "use another backup" });
}
