/**
 * Blocks of one chunk that lie one after the other and have not reached the stores yet.
 *
 *     waiting ──► queued ──► under way ──► done
 *        ▲          │         (bytes and version stay as they are, whatever is written meanwhile)
 *        └──────────┘ not allowed to go yet
 *
 * While it waits or is queued, later writes may change its bytes, take blocks off its ends, or take its place.
 */
import { blockBytes, groupOfChunk } from "../../namespace/model.ts";
import type { Slab } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { FileContent } from "./file-content.ts";

export class Dirt {
  readonly content: FileContent;
  readonly view: ChunkView;
  readonly chunk: number;
  first: number;
  bytes: Buffer;
  readonly slab: Slab;
  /** The version that it has if blocks of it were written again before it went out; see write-batch.ts. */
  readonly sequence: number;
  /** The first of the writes that are in it. */
  firstMark: number;
  /** The journal entry of that write, which is sent when this is done. */
  firstPosition: number;
  /**
   * Goes out only when the journal is committed up to here: its bytes take the place of bytes that can be seen in an
   * earlier state. 0: they can't be seen yet. Always below `firstPosition`, else both would wait for each other.
   */
  after: number;
  state: "waiting" | "queued" | "underWay" | "done" = "waiting";
  /** None of its blocks was written again since. */
  isCurrent = true;
  /** Taken from the group's grant of space. */
  readonly grantedBytes: number;

  constructor(fields: {
    content: FileContent;
    view: ChunkView;
    first: number;
    bytes: Buffer;
    slab: Slab;
    sequence: number;
    firstMark: number;
    firstPosition: number;
    after: number;
    grantedBytes: number;
  }) {
    this.content = fields.content;
    this.view = fields.view;
    this.chunk = fields.view.chunk;
    this.first = fields.first;
    this.bytes = fields.bytes;
    this.slab = fields.slab;
    this.sequence = fields.sequence;
    this.firstMark = fields.firstMark;
    this.firstPosition = fields.firstPosition;
    this.after = fields.after;
    this.grantedBytes = fields.grantedBytes;
  }

  get end(): number {
    return this.first + this.bytes.byteLength / blockBytes;
  }

  get group(): number {
    return groupOfChunk(this.chunk);
  }

  /** True while nobody else reads its bytes and its version is open. */
  get isOpen(): boolean {
    return this.state === "waiting" || this.state === "queued";
  }
}
