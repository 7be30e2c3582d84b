/**
 * Inode numbers and chunk ids that the leader has granted to this session.
 *
 * Both are asked for ahead: a new range is on its way before the present ones are used up, so that a create or a write
 * rarely waits for one. Chunk ids are taken in turn from ranges of several groups, so that the chunks of one large file
 * spread over all stores. First chunks of files come from one group for a while: small files that are written one after
 * the other go to the stores in common requests (content/write-back.ts). Groups in which room is scarce are left to the
 * chunks that are there, as long as others have more.
 *
 * The leader remembers a grant until all its numbers are used, and only so many unfinished ones: so an inode number whose
 * create failed is used for the next one, as is a chunk id that nothing was written to. One whose write failed is
 * discarded (its blocks may lie somewhere).
 */
import { errno } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import { chunkGrantMax, groupOfChunk, inodeGrantMax } from "../namespace/model.ts";
import type { Operation as NamespaceOperation, Result } from "../namespace/operation.ts";
import type { Room } from "./content/space-grants.ts";
import { expectResult } from "./results.ts";
import type { Soon } from "./soon.ts";
import type { Operation } from "./waits.ts";

/** Small at first, twice as many each time: what a short-lived mount doesn't use is swept when its session ends. */
const inodeCounts = { first: 256, max: inodeGrantMax };
const chunkCounts = { first: 64, max: chunkGrantMax };
/** Ranges of chunk ids in use at the same time, each as a rule of another group. */
const chunkRangesInTurn = 4;
/** Ranges at hand: where room is scarce in all of their groups, another is asked for only up to here. */
const rangesMax = 64;
/** First chunks in a row of one group: some batches' worth. */
const chunksInRun = 256;
/** Of one group, when a chunk is to share another's blocks: a large file has some in each of 32 groups. */
const chunksOfGroup = 32;
/** A range of which less than this part is left calls for the next one. */
const lowFraction = 0.25;

type Submit = (operation: NamespaceOperation) => Promise<Result>;

interface Supply {
  next: number;
  readonly end: number;
  readonly low: number;
}

/** Ranges of one kind of number. */
class Stock {
  readonly #request: (count: number) => NamespaceOperation;
  readonly #submit: Submit;
  readonly #rangesWanted: number;
  #supplies: Supply[] = [];
  #turn = 0;
  /** The range that a run is taken from, and how many numbers are left of the run. */
  #run: Supply | undefined;
  #runLeft = 0;
  readonly #countMax: number;
  #count: number;
  #refilling: Promise<void> | undefined;

  constructor(
    submit: Submit,
    rangesWanted: number,
    counts: { readonly first: number; readonly max: number },
    request: (count: number) => NamespaceOperation,
  ) {
    this.#submit = submit;
    this.#count = counts.first;
    this.#countMax = counts.max;
    this.#rangesWanted = rangesWanted;
    this.#request = request;
  }

  get isEmpty(): boolean {
    return this.#supplies.length === 0;
  }

  /**
   * A number never given out before, from each range in turn; `inRun`: many in a row from one. A promise only if the leader
   * has to be asked. Errors: those of the transaction, ENOSPC among them.
   */
  take(operation: Operation, inRun = false): Soon<number> {
    return this.takeIf(() => true, inRun) ?? this.#takeWhenThere(operation, inRun);
  }

  /** The same of a range whose numbers `fit`, if one is at hand. */
  takeIf(fits: (number: number) => boolean, inRun = false): number | undefined {
    const at = inRun ? this.#placeOfRun(fits) : this.#nextTurn(fits);
    return at === undefined ? undefined : this.#takeFrom(at);
  }

  /** Asks for one more range, unless there are many. Whether there is one then is to be seen. */
  async more(operation: Operation): Promise<void> {
    if (this.#supplies.length >= rangesMax) return;
    await this.#refilled(operation).catch(() => {});
  }

  async #takeWhenThere(operation: Operation, inRun: boolean): Promise<number> {
    while (this.isEmpty) await this.#refilled(operation);
    return this.take(operation, inRun);
  }

  async #refilled(operation: Operation): Promise<void> {
    operation.check();
    operation.waitsFor = "leader, for new ids";
    this.#refill();
    await this.#refilling;
  }

  #nextTurn(fits: (number: number) => boolean): number | undefined {
    const { length } = this.#supplies;
    for (let tried = 0; tried < length; tried++) {
      this.#turn = (this.#turn + 1) % length;
      if (fits(this.#supplies[this.#turn]!.next)) return this.#turn;
    }
    return undefined;
  }

  #placeOfRun(fits: (number: number) => boolean): number | undefined {
    const isOver = this.#run === undefined || this.#runLeft === 0 || !fits(this.#run.next);
    let at: number | undefined = isOver ? -1 : this.#supplies.indexOf(this.#run!);
    if (at < 0) {
      at = this.#nextTurn(fits);
      if (at === undefined) return undefined;
      this.#run = this.#supplies[at];
      this.#runLeft = chunksInRun;
    }
    this.#runLeft -= 1;
    return at;
  }

  /** Numbers that were granted for something special: the rest of them is for anybody. */
  add({ first, count }: { readonly first: number; readonly count: number }): void {
    this.#supplies.push({ next: first, end: first + count, low: count * lowFraction });
  }

  #takeFrom(at: number): number {
    const supply = this.#supplies[at]!;
    const number = supply.next++;
    if (supply.next === supply.end) this.#supplies.splice(at, 1);
    if (this.#isLow()) this.#refill();
    return number;
  }

  #isLow(): boolean {
    const ample = this.#supplies.filter((supply) => supply.end - supply.next > supply.low).length;
    return ample < this.#rangesWanted;
  }

  /** One range at a time: who waits goes on with the first. */
  #refill(): void {
    if (this.#refilling !== undefined) return;
    const refilling = this.#fetch();
    this.#refilling = refilling;
    refilling.then(
      () => {
        this.#refilling = undefined;
        if (this.#isLow()) this.#refill();
      },
      // Who waits for it gets the error; asking ahead must not fail anybody.
      () => {
        this.#refilling = undefined;
      },
    );
  }

  async #fetch(): Promise<void> {
    const result = await this.#submit(this.#request(this.#count));
    const { first, count } = expectResult(result, "granted").range;
    if (count === 0) throw new FileError("ENOSPC", "the leader granted no ids");
    this.add({ first, count });
    this.#count = Math.min(this.#count * 2, this.#countMax);
  }
}

export class Ids {
  /** Set by who knows. */
  roomIn: (group: number) => Room = () => "ample";
  readonly #submit: Submit;
  readonly #inodes: Stock;
  /** By pool. */
  readonly #chunks = new Map<number, ChunkIds>();
  readonly #spareInodes: number[] = [];
  /** `POOL/GROUP`: groups that are not of the pool, and those of which ids are being asked for. */
  readonly #refusedGroups = new Set<string>();
  readonly #askingGroups = new Map<string, Promise<boolean>>();

  constructor(submit: Submit) {
    this.#submit = submit;
    this.#inodes = new Stock(submit, 1, inodeCounts, (count) => ({ kind: "grantInodes", count }));
  }

  takeInode(operation: Operation): Soon<number> {
    return this.#spareInodes.pop() ?? this.#inodes.take(operation);
  }

  /** The create failed: nobody has seen the number. */
  giveBackInode(inode: number): void {
    this.#spareInodes.push(inode);
  }

  /** For a chunk of a file of this pool, its first one or another; of the group that has the most room, as far as is known. Errors: ENOSPC. */
  takeChunk(operation: Operation, isFirst: boolean, pool: number): Soon<number> {
    return this.#takeIfRoom(isFirst, pool, this.#isAmple) ?? this.#takeScarce(operation, isFirst, pool);
  }

  async #takeScarce(operation: Operation, isFirst: boolean, pool: number): Promise<number> {
    const { spare, stock } = this.#ofPool(pool);
    if (!stock.isEmpty) await stock.more(operation);
    const found = this.#takeIfRoom(isFirst, pool, this.#isAmple) ?? this.#takeIfRoom(isFirst, pool, this.#isNotFull);
    return found ?? spare.pop() ?? stock.take(operation, isFirst);
  }

  #takeIfRoom(isFirst: boolean, pool: number, hasRoom: (chunk: number) => boolean): number | undefined {
    const { spare, stock } = this.#ofPool(pool);
    const at = spare.findLastIndex(hasRoom);
    return at < 0 ? stock.takeIf(hasRoom, isFirst) : spare.splice(at, 1)[0];
  }

  readonly #isAmple = (chunk: number): boolean => this.roomIn(groupOfChunk(chunk)) === "ample";
  readonly #isNotFull = (chunk: number): boolean => this.roomIn(groupOfChunk(chunk)) !== "none";

  /** Nothing was sent to any store under this id. */
  giveBackChunk(chunk: number, pool: number): void {
    this.#ofPool(pool).spare.push(chunk);
  }

  /** The chunk was or may have been written, and will never be mapped. Not awaited: the end of the session does it, too. */
  discardChunk(chunk: number): void {
    this.#submit({ kind: "discardChunks", chunks: [chunk] }).catch(() => {});
  }

  /** A chunk id of this group, if one is at hand and the group is of the pool. */
  takeChunkOf(group: number, pool: number): number | undefined {
    return this.#ofPool(pool).stock.takeIf((chunk) => groupOfChunk(chunk) === group);
  }

  /**
   * The same, and the leader is asked if none is at hand. Undefined: the group is not of the pool, or takes no writes. One
   * request at a time for each group: who comes meanwhile takes of the same.
   */
  async fetchChunkOf(group: number, pool: number, operation: Operation): Promise<number | undefined> {
    const key = `${pool}/${group}`;
    for (;;) {
      const chunk = this.takeChunkOf(group, pool);
      if (chunk !== undefined || this.#refusedGroups.has(key)) return chunk;
      operation.check();
      operation.waitsFor = "leader, for new ids";
      let asking = this.#askingGroups.get(key);
      if (asking === undefined) {
        asking = this.#fetchOf(group, pool, key).finally(() => this.#askingGroups.delete(key));
        this.#askingGroups.set(key, asking);
      }
      if (!(await asking)) return undefined;
    }
  }

  /** False: refused. A group never changes its pool, so that is remembered; that it takes no writes isn't. */
  async #fetchOf(group: number, pool: number, key: string): Promise<boolean> {
    const result = await this.#submit({ kind: "grantChunksOf", count: chunksOfGroup, pool, group });
    if (result.kind === "granted") {
      this.#ofPool(pool).stock.add(result.range);
      return true;
    }
    if (result.kind === "failed" && result.errno === errno.EINVAL) this.#refusedGroups.add(key);
    return false;
  }

  #ofPool(pool: number): ChunkIds {
    let ids = this.#chunks.get(pool);
    if (ids === undefined) {
      const request = (count: number) => ({ kind: "grantChunks", count, pool }) as const;
      ids = { stock: new Stock(this.#submit, chunkRangesInTurn, chunkCounts, request), spare: [] };
      this.#chunks.set(pool, ids);
    }
    return ids;
  }
}

interface ChunkIds {
  readonly stock: Stock;
  /** Taken, and given back. */
  readonly spare: number[];
}
