/**
 * Writes to a file, under its exclusive lease.
 *
 * 1. Take room for dirty bytes, then lock the blocks. A write that moves the end of the file locks from the present end to
 *    infinity, so that those that extend a file come one after the other; one that touches a chunk which isn't mapped
 *    locks that whole chunk, so that each chunk is made once. Everything else goes in parallel.
 * 2. What is between the old end and the first byte has to be zeros (extend.ts).
 * 3. The bytes are cut at chunks and made whole blocks: of the edges, what stays is read. A new chunk gets an id. Space is
 *    taken from the grant of each chunk's group.
 * 4. In one turn: the rule of `write` runs and its transaction goes into the journal, then the blocks become dirty
 *    (dirty-blocks.ts), and it returns. Data before the metadata that shows it: the journal sees to that.
 *
 * Without grants the write goes through (through-writer.ts). If a store refuses it then, it is made again with a new chunk of another
 * group, or with the chunk moved to one (relocation.ts): ENOSPC says that no group of the pool has room.
 */
import { FileError } from "../../errors/file-error.ts";
import { blockBytes, chunkBytes, fileBytesMax, groupOfChunk } from "../../namespace/model.ts";
import type { EntryData } from "../journal-entry.ts";
import { afterwards, ifItFails, type Soon, whenThere } from "../soon.ts";
import type { Operation } from "../waits.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import { ceilBlock, floorBlock } from "./offsets.ts";
import { endOfRange } from "./range-lock.ts";
import { giveGrantsBack, needOf, type Run, takeGrants } from "./run.ts";
import { ChunkFull } from "./through-writer.ts";
import { fittingBytes, withinQuota } from "./within-quota.ts";
import { FilePart, haveLeftHole, loadEdges, mappingsOf } from "./write-part.ts";

export interface WriteRequest {
  /** Undefined: at the end of the file, wherever that is when the lock is held. */
  readonly offset: number | undefined;
  /** The caller's, until its promise settles. */
  readonly bytes: Uint8Array;
  readonly killPrivileges: boolean;
}

/** Room for the edges of a write. */
export const edgeBytes = 2 * blockBytes;
/** Groups that are tried for a chunk: for grants (one that was refused just now costs no request), and then on the stores. */
const groupsTriedMax = 8;

/** A write as it is made ready. */
interface Prepared {
  readonly parts: FilePart[];
  readonly gap: readonly Run[];
  /** Grants of the gap's runs. */
  gapGrants: readonly number[] | undefined;
}

interface Locked {
  readonly unlock: () => void;
  /** Offset of the first byte. */
  readonly start: number;
}

type MakePart = (view: ChunkView, isNew: boolean) => FilePart;

export class FileWriter {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /** Returns the bytes written: all, or the first ones if there was no space or quota for more. Errors: ENOSPC, EDQUOT, EFBIG, EIO. */
  write(content: FileContent, request: WriteRequest, operation: Operation): Soon<number> {
    return this.#writeWithTries(content, request, operation, groupsTriedMax);
  }

  #writeWithTries(content: FileContent, request: WriteRequest, operation: Operation, triesLeft: number): Soon<number> {
    return ifItFails(
      () => this.#writeOnce(content, request, operation),
      async (error) => {
        if (!(error instanceof ChunkFull) || triesLeft === 1) throw error;
        if (!(await this.#makeRoom(content, error, operation))) throw error;
        return this.#writeWithTries(content, request, operation, triesLeft - 1);
      },
    );
  }

  /** Whether it may fit now. */
  async #makeRoom(content: FileContent, { index, wasKnown }: ChunkFull, operation: Operation): Promise<boolean> {
    if (index === undefined) return !wasKnown;
    // A chunk can't be replaced under a lease on it alone.
    if (content.node.file !== undefined) return false;
    return this.#contents.relocation.leaveFullGroup(content, index, operation);
  }

  #writeOnce(content: FileContent, request: WriteRequest, operation: Operation): Soon<number> {
    const { budget } = this.#contents;
    const roomBytes = request.bytes.byteLength + edgeBytes;
    const writing = () => {
      operation.check();
      return whenThere(this.#lock(content, request, operation), ({ unlock, start }) =>
        afterwards(() => {
          operation.check();
          return this.writeLocked(content, request, start, operation);
        }, unlock),
      );
    };
    return whenThere(budget.take(roomBytes, operation), () => afterwards(writing, () => budget.release(roomBytes)));
  }

  #lock(content: FileContent, request: WriteRequest, operation: Operation): Soon<Locked> {
    const length = request.bytes.byteLength;
    const offset = request.offset ?? content.size;
    const again = () => this.#lock(content, request, operation);
    const lastIndex = Math.floor((offset + length - 1) / chunkBytes);
    if (!content.map.knows(lastIndex)) return content.map.load(lastIndex).then(again);
    const claim = claimOf(content, offset, length);
    const locking = content.lock.lock(claim.from, claim.to, true);
    if (locking instanceof Promise) operation.waitsFor = "other writes to the file";
    return whenThere<() => void, Locked>(locking, (unlock) => {
      // The end of the file may have moved meanwhile, and chunks may have come or gone.
      const start = request.offset ?? content.size;
      if (content.map.knows(Math.floor((start + length - 1) / chunkBytes))) {
        const now = claimOf(content, start, length);
        if (now.from >= claim.from && now.to <= claim.to) return { unlock, start };
      }
      unlock();
      return again();
    });
  }

  /** The same for who has the blocks locked, the map up to them loaded, and room for what becomes dirty. */
  writeLocked(
    content: FileContent,
    { bytes, killPrivileges }: Omit<WriteRequest, "offset">,
    start: number,
    operation: Operation,
  ): Soon<number> {
    if (start + bytes.byteLength > fileBytesMax) throw new FileError("EFBIG");
    const fitting = fittingBytes(this.#contents.quotas, content, start, bytes.byteLength, operation);
    return whenThere(fitting, (length) => {
      operation.check();
      return this.#writeFitting(content, bytes.subarray(0, length), killPrivileges, start, operation);
    });
  }

  #writeFitting(
    content: FileContent,
    bytes: Uint8Array,
    killPrivileges: boolean,
    start: number,
    operation: Operation,
  ): Soon<number> {
    const end = start + bytes.byteLength;
    const { extender, quotas, throughWriter } = this.#contents;
    const filling = start > content.size ? extender.gapOf(content, floorBlock(start), operation) : [];
    return whenThere<Run[], number>(filling, (gap) => {
      const prepared: Prepared = { parts: [], gap, gapGrants: undefined };
      const writing = (isGranted: boolean): Soon<number> => {
        operation.check();
        if (!isGranted) {
          this.#giveGrantsBack(prepared);
          return throughWriter.write(content, prepared, killPrivileges, operation);
        }
        return withinQuota(quotas, operation, () =>
          this.#withEdges(content, prepared.parts, operation, () => {
            operation.check();
            this.#writeBack(content, prepared, end, killPrivileges);
            return bytes.byteLength;
          }),
        );
      };
      return ifItFails(
        () => whenThere(this.#prepare(content, prepared, bytes, start, operation), writing),
        (error) => this.#giveUp(prepared, error),
      );
    });
  }

  /** Runs `then` in the very turn in which everything is here: in the next, even of microtasks, the cache may have dropped it. */
  #withEdges<T>(content: FileContent, parts: readonly FilePart[], operation: Operation, then: () => T): Soon<T> {
    const loading = loadEdges(this.#contents, content, parts, operation);
    return loading === undefined ? then() : loading.then(() => this.#withEdges(content, parts, operation, then));
  }

  /** Nothing has happened; what has been written through is marked as stored. */
  #giveUp(prepared: Prepared, error: unknown): never {
    this.#giveGrantsBack(prepared);
    for (const { isNew, view } of prepared.parts) {
      if (isNew && !view.isStored) this.#contents.ids.giveBackChunk(view.chunk, view.content.pool);
    }
    throw error;
  }

  /** Cuts at chunks, with ids for new ones, and takes grants for all. False if not everything is granted. */
  #prepare(
    content: FileContent,
    prepared: Prepared,
    bytes: Uint8Array,
    start: number,
    operation: Operation,
  ): Soon<boolean> {
    const end = start + bytes.byteLength;
    let granting: Soon<boolean> = true;
    for (let from = start; from < end; ) {
      const index = Math.floor(from / chunkBytes);
      const chunkStart = index * chunkBytes;
      const to = Math.min(end, chunkStart + chunkBytes);
      const [first, last] = [from - chunkStart, to - chunkStart];
      const inChunk = bytes.subarray(from - start, to - start);
      const make: MakePart = (view, isNew) => new FilePart(view, isNew, first, last, inChunk);
      granting = whenThere(granting, (before) =>
        whenThere(this.#preparePart(content, prepared, index, make, operation), (isGranted) => before && isGranted),
      );
      from = to;
    }
    if (prepared.gap.length === 0) return granting;
    return whenThere(granting, async (isGranted) => {
      prepared.gapGrants = await takeGrants(this.#contents.space, prepared.gap.map(needOf));
      return isGranted && prepared.gapGrants !== undefined;
    });
  }

  #preparePart(
    content: FileContent,
    prepared: Prepared,
    index: number,
    make: MakePart,
    operation: Operation,
  ): Soon<boolean> {
    const view = content.view(index);
    const making = view === undefined ? this.#partOfNew(content, index, make, operation) : make(view, false);
    return whenThere<FilePart, boolean>(making, (part) => {
      prepared.parts.push(part);
      if (part.grantedBytes > 0) return true;
      const taking = takeGrants(this.#contents.space, [part.need]);
      if (taking instanceof Promise) operation.waitsFor = "the leader, to grant space";
      return whenThere<number[] | undefined, boolean>(taking, (taken) => {
        part.grantedBytes = taken?.[0] ?? 0;
        return taken !== undefined;
      });
    });
  }

  /** A part in a chunk with a new id, if possible of a group that has space. */
  #partOfNew(content: FileContent, index: number, make: MakePart, operation: Operation): Soon<FilePart> {
    const { ids, space } = this.#contents;
    const refused: number[] = [];
    // First chunks come from one group in a row: if it has no space, the others' turns are taken.
    const takeChunk = () => ids.takeChunk(operation, index === 0 && refused.length === 0, content.pool);
    const tryGroup = (): Soon<FilePart> =>
      whenThere<number, FilePart>(takeChunk(), (chunk) => {
        const part = make(content.newView(index, chunk, false), true);
        return whenThere<number[] | undefined, FilePart>(takeGrants(space, [part.need]), (taken) => {
          part.grantedBytes = taken?.[0] ?? 0;
          if (taken !== undefined || refused.length === groupsTriedMax - 1) return part;
          refused.push(chunk);
          return tryGroup();
        });
      });
    return afterwards(tryGroup, () => {
      for (const chunk of refused) ids.giveBackChunk(chunk, content.pool);
    });
  }

  #giveGrantsBack(prepared: Prepared): void {
    const { space } = this.#contents;
    for (const part of prepared.parts) {
      if (part.grantedBytes > 0) space.giveBack(groupOfChunk(part.view.chunk), part.grantedBytes);
      part.grantedBytes = 0;
    }
    if (prepared.gapGrants !== undefined) giveGrantsBack(space, prepared.gap.map(needOf), prepared.gapGrants);
    prepared.gapGrants = undefined;
  }

  /** In one turn. */
  #writeBack(content: FileContent, prepared: Prepared, end: number, killPrivileges: boolean): void {
    const { parts, gap, gapGrants } = prepared;
    const { size, dirty, inode } = content;
    const mappings = mappingsOf(parts);
    const mark = dirty.place();
    let position: number;
    try {
      const write = { kind: "write", inode, mappings, end, killPrivileges } as const;
      position = this.#contents.execute(content.node, write, { content, mark, effect: effectOf(parts, end, size) });
    } catch (error) {
      dirty.placed();
      throw error;
    }
    content.changedBy(position, size);
    for (const part of parts) if (part.isNew) content.adopt(part.view, position);
    for (const [index, { view, first, span, changedFrom }] of gap.entries()) {
      const after = content.afterOf(view, changedFrom, position);
      content.put(view, first, span, { mark, position, after }, gapGrants![index]!);
    }
    for (const part of parts) this.#place(content, part, mark, position);
    if (haveLeftHole(content, parts, size)) content.markHoles();
    content.written();
  }

  #place(content: FileContent, part: FilePart, mark: number, position: number): void {
    const { view, grantedBytes } = part;
    const origin = { mark, position, after: content.afterOf(view, part.offset, position) };
    content.outdate(view, part.firstBlock, part.endBlock);
    if (!part.isNew && content.dirty.overwrite(view, part.from, part.bytes, origin)) {
      this.#contents.space.giveBack(groupOfChunk(view.chunk), grantedBytes);
    } else content.put(view, part.firstBlock, part.assemble(this.#contents.pool), origin, grantedBytes);
  }
}

/** What a write of `length` bytes at `start` has to lock, as the file is now. */
function claimOf(content: FileContent, start: number, length: number): { from: number; to: number } {
  const end = start + length;
  const [firstIndex, lastIndex] = [Math.floor(start / chunkBytes), Math.floor((end - 1) / chunkBytes)];
  let [from, to] = [floorBlock(start), ceilBlock(end)];
  if (content.map.get(firstIndex) === undefined) from = firstIndex * chunkBytes;
  if (content.map.get(lastIndex) === undefined) to = (lastIndex + 1) * chunkBytes;
  if (end > content.size) [from, to] = [Math.min(from, floorBlock(content.size)), endOfRange];
  return { from, to };
}

/** What a write does to a file of this size. */
function effectOf(parts: readonly FilePart[], end: number, size: number): EntryData["effect"] {
  const adds = end > size || parts.some((part) => part.isNew);
  const overwrites = parts.some((part) => !part.isNew && part.offset < size);
  return adds ? (overwrites ? "both" : "adds") : "overwrites";
}
