/** A journal that does what a test says, and what the leader would have committed of it. */
import { chunkBytes } from "../../../namespace/model.ts";
import type { OperationOf } from "../../../namespace/operation.ts";
import { type EntryData, mayJoin } from "../../journal-entry.ts";

export type FileOperation = OperationOf<"write" | "unmap" | "setAttributes" | "place" | "markHoles">;

/** What the leader knows of a file. */
export interface CommittedFile {
  size: number;
  readonly chunks: Map<number, number>;
}

interface Entry {
  readonly position: number;
  readonly inode: number;
  operations: FileOperation[];
  data: EntryData | undefined;
}

/** Commits entries in order as far as their data is durable and the test lets it. */
export class FakeJournal {
  position = 0;
  committedPosition = 0;
  directoryPosition = 0;
  /** Entries up to here may be committed. */
  released = 0;
  /** Operations on the same file join the last entry while it is not released. */
  joins = false;
  readonly committedFiles = new Map<number, CommittedFile>();
  readonly entries: Entry[] = [];
  #waiters: { position: number; resolve: () => void }[] = [];
  onEntry: (position: number, inode: number, operation: FileOperation, data: EntryData | undefined) => void = () => {};
  /** After each commit. */
  onCommit: (position: number) => void = () => {};

  append(inode: number, operation: FileOperation, data: EntryData | undefined): number {
    const last = this.entries.at(-1);
    const isWrites = operation.kind === "write" && last?.operations.every(({ kind }) => kind === "write") === true;
    const isAlike = data === undefined || last?.data === undefined || mayJoin(last.data, data);
    if (this.joins && isWrites && isAlike && last.inode === inode && last.position > this.released) {
      last.operations.push(operation);
      last.data = data ?? last.data;
      this.onEntry(last.position, inode, operation, data);
      return last.position;
    }
    this.position += 1;
    this.entries.push({ position: this.position, inode, operations: [operation], data });
    this.onEntry(this.position, inode, operation, data);
    // As the real one, which may ask at once whether the entry can go.
    this.pump();
    return this.position;
  }

  committed(position: number): Promise<void> {
    if (position <= this.committedPosition) return Promise.resolve();
    this.release(position);
    return new Promise((resolve) => {
      if (position <= this.committedPosition) resolve();
      else this.#waiters.push({ position, resolve });
    });
  }

  release(position: number): void {
    this.released = Math.max(this.released, position);
    this.pump();
  }

  dataDurable(): void {
    this.pump();
  }

  dataWaits(): void {}

  pump(): void {
    for (const entry of this.entries) if (entry.position <= this.released) entry.data?.content.flush(entry.data.mark);
    for (;;) {
      const entry = this.entries[0];
      if (entry === undefined || entry.position > this.released) break;
      if (entry.data !== undefined && !entry.data.content.isDurable(entry.data.mark)) break;
      this.entries.shift();
      for (const operation of entry.operations) this.#commit(entry.inode, operation);
      this.committedPosition = entry.position;
      this.onCommit(entry.position);
    }
    const done = this.#waiters.filter(({ position }) => position <= this.committedPosition);
    this.#waiters = this.#waiters.filter(({ position }) => position > this.committedPosition);
    for (const { resolve } of done) resolve();
  }

  #commit(inode: number, operation: FileOperation): void {
    if (operation.kind === "markHoles") return;
    const file = this.committedFiles.get(inode) ?? { size: 0, chunks: new Map<number, number>() };
    this.committedFiles.set(inode, file);
    if (operation.kind === "unmap") {
      for (let index = operation.from; index < operation.below; index++) file.chunks.delete(index);
      return;
    }
    if (operation.kind === "write") file.size = Math.max(file.size, operation.end);
    else if (operation.kind === "setAttributes") {
      file.size = operation.size ?? file.size;
      for (const index of [...file.chunks.keys()])
        if (index >= Math.ceil(file.size / chunkBytes)) file.chunks.delete(index);
    }
    for (const { index, chunk } of operation.mappings) file.chunks.set(index, chunk);
  }
}
