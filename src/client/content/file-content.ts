/**
 * What is known of a file's data under one lease: grant, size, chunk map, who is at work on which bytes, what was read
 * ahead. It lives as long as the lease; the next lease of the inode begins with a new one.
 *
 * Bytes beyond `size` in the last mapped chunk are *undefined*: a write that was never finished (its client died, its
 * transaction was refused) may have left something there. So nobody reads them, whoever completes a block that reaches
 * beyond the size takes zeros for them, and whoever moves the size over them makes them zeros first (extend.ts).
 */
import type { LeaseMode } from "../../wire/catalogue/leader.ts";
import type { Version } from "../../wire/catalogue/store.ts";
import type { ChunkMap } from "./chunk-map.ts";
import { RangeLock } from "./range-lock.ts";
import type { ReadAheadCache } from "./read-ahead-cache.ts";

export class InodeData {
  readonly inode: number;
  readonly mode: LeaseMode;
  /** Upper part of the versions written under this lease. */
  readonly grant: number;
  /** As committed: only changed by answered transactions, and under a lock that covers the end of the file. */
  size: number;
  readonly map: ChunkMap;
  readonly lock = new RangeLock();
  readonly readAhead: ReadAheadCache;
  #sequence = 0;

  constructor(fields: {
    inode: number;
    mode: LeaseMode;
    grant: number;
    size: number;
    map: ChunkMap;
    readAhead: ReadAheadCache;
  }) {
    this.inode = fields.inode;
    this.mode = fields.mode;
    this.grant = fields.grant;
    this.size = fields.size;
    this.map = fields.map;
    this.readAhead = fields.readAhead;
  }

  /** A version above all that were made under this lease. */
  nextVersion(): Version {
    if (this.mode !== "exclusive") throw new Error(`inode ${this.inode} is written under a shared lease`);
    this.#sequence += 1;
    return { grant: this.grant, sequence: this.#sequence };
  }
}
