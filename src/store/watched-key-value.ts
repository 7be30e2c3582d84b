/** The index's KeyValue, with a word to its owner when the database turns out to be damaged. */
import { DiskError } from "../platform/disk.ts";
import type { KeyValue, KeyValueEntry } from "../platform/key-value.ts";

export class WatchedKeyValue implements KeyValue {
  readonly #keyValue: KeyValue;
  readonly #onDamage: (reason: string) => void;

  constructor(keyValue: KeyValue, onDamage: (reason: string) => void) {
    this.#keyValue = keyValue;
    this.#onDamage = onDamage;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#watch(() => this.#keyValue.get(key));
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#keyValue.put(key, value);
  }

  delete(key: Uint8Array): void {
    this.#watch(() => this.#keyValue.delete(key));
  }

  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse = false): KeyValueEntry[] {
    return this.#watch(() => this.#keyValue.scan(from, to, limit, reverse));
  }

  get uncommittedCount(): number {
    return this.#keyValue.uncommittedCount;
  }

  commit(): void {
    this.#watch(() => this.#keyValue.commit());
  }

  async checkpoint(): Promise<void> {
    try {
      await this.#keyValue.checkpoint();
    } catch (error) {
      this.#consider(error);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#keyValue.close();
  }

  #watch<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      this.#consider(error);
      throw error;
    }
  }

  #consider(error: unknown): void {
    if (error instanceof DiskError && error.code === "EUCLEAN") this.#onDamage(error.message);
  }
}
