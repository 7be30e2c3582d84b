/**
 * Bounds the bytes of all files that the stores don't have yet. At the limit writers wait, in the order in which they came;
 * whoever holds a lock of a file has its room already, so the wait depends on the stores and the leader alone.
 */
import type { FileError } from "../../errors/file-error.ts";
import { type Operation, waitsForRoom } from "../waits.ts";

interface Waiter {
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (failure: FileError) => void;
}

export class DirtyBudget {
  readonly #bytesMax: number;
  #bytes = 0;
  #waiters: Waiter[] = [];
  #failure: FileError | undefined;
  /** There is little room left, or somebody waits for it: what may go out should. */
  onPressure: () => void = () => {};

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  get isPressed(): boolean {
    return this.#bytes > this.#bytesMax / 2;
  }

  /** Room for a write: undefined if it is there, else resolves when it is. Given back with `release`. Errors: EIO. */
  take(bytes: number, operation: Operation): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#waiters.length === 0 && this.#fits(bytes)) {
      this.#bytes += bytes;
      return undefined;
    }
    operation.waitsFor = waitsForRoom;
    const taken = new Promise<void>((resolve, reject) => this.#waiters.push({ bytes, resolve, reject }));
    this.onPressure();
    return taken;
  }

  /** Blocks have become dirty. They may go beyond the limit: their writer has taken room for about as many. */
  add(bytes: number): void {
    this.#bytes += bytes;
  }

  release(bytes: number): void {
    this.#bytes -= bytes;
    while (this.#waiters.length > 0 && this.#fits(this.#waiters[0]!.bytes)) {
      const { bytes: taken, resolve } = this.#waiters.shift()!;
      this.#bytes += taken;
      resolve();
    }
  }

  /** The session has ended: who waits fails. */
  lost(failure: FileError): void {
    this.#failure = failure;
    for (const { reject } of this.#waiters.splice(0)) reject(failure);
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax;
  }
}
