/**
 * One request to the members of a group: dirty blocks of one or many files, as parts of one `store.write`.
 *
 * Versions: dirts that nobody has written over since get a version of this very moment, one for all neighbours, so that
 * what was written in small steps becomes one extent at the stores. A dirt that was written over keeps the version of the
 * time when it was written: the later bytes have a higher one, or get it.
 */
import { blockBytes } from "../../namespace/model.ts";
import type { Version, WritePart } from "../../wire/catalogue/store.ts";
import { blockChecksums } from "../../wire/checksum.ts";
import type { Dirt } from "./dirt.ts";

export interface BatchPart extends WritePart {
  readonly dirts: Dirt[];
  readonly pieces: Buffer[];
}

/** Makes parts of dirts that go out now; from here on they don't change. */
export function partsOf(dirts: Dirt[], nextSequence: () => number): BatchPart[] {
  if (dirts.length > 1) dirts.sort((left, right) => left.chunk - right.chunk || left.first - right.first);
  const parts: BatchPart[] = [];
  let run: Dirt[] = [];
  for (const dirt of dirts) {
    dirt.state = "underWay";
    const last = run.at(-1);
    const follows = last !== undefined && last.chunk === dirt.chunk && last.end === dirt.first;
    if (follows && last.isCurrent && dirt.isCurrent) run.push(dirt);
    else {
      if (run.length > 0) parts.push(partOf(run, nextSequence));
      run = [dirt];
    }
  }
  if (run.length > 0) parts.push(partOf(run, nextSequence));
  return parts;
}

function partOf(dirts: Dirt[], nextSequence: () => number): BatchPart {
  const { chunk, first, sequence, isCurrent, content } = dirts[0]!;
  const version: Version = { grant: content.node.versionGrant, sequence: isCurrent ? nextSequence() : sequence };
  const pieces: Buffer[] = [];
  const checksums: number[] = [];
  let at = first;
  for (const { bytes } of dirts) {
    pieces.push(bytes);
    for (const checksum of blockChecksums(bytes, chunk, at, version)) checksums.push(checksum);
    at += bytes.byteLength / blockBytes;
  }
  return { chunk, firstBlock: first, version, checksums, dirts, pieces };
}
