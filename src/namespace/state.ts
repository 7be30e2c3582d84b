/** The ordered map that the namespace lives in, and a wrapper that counts changes. */

/**
 * What the namespace needs of a KeyValue. Keys are compared as unsigned bytes. `put` and `delete` must copy the key and
 * the value: the namespace builds keys in buffers that it uses again at once.
 */
export interface State {
  get(key: Uint8Array): Uint8Array | undefined;
  put(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): void;
  /** Entries with from ≤ key < to, in order (descending with `reverse`), at most `limit` (≤ 1,000). */
  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse?: boolean): (readonly [Uint8Array, Uint8Array])[];
}

/** Most rows of one scan (KeyValue's bound). */
export const scanRowsMax = 1000;

/** Counts changes, so that an operation that fails can be proved to have changed nothing. */
export class CountedState implements State {
  readonly #state: State;
  changeCount = 0;

  constructor(state: State) {
    this.#state = state;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#state.get(key);
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.changeCount += 1;
    this.#state.put(key, value);
  }

  delete(key: Uint8Array): void {
    this.changeCount += 1;
    this.#state.delete(key);
  }

  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse = false): (readonly [Uint8Array, Uint8Array])[] {
    return this.#state.scan(from, to, limit, reverse);
  }
}

/** All entries with from ≤ key < to, up to `limit`, in scans of bounded size. Both keys must not be shared buffers. */
export function scanUpTo(
  state: State,
  from: Uint8Array,
  to: Uint8Array,
  limit: number,
): (readonly [Uint8Array, Uint8Array])[] {
  const rows: (readonly [Uint8Array, Uint8Array])[] = [];
  let start = from;
  while (rows.length < limit) {
    const wanted = Math.min(limit - rows.length, scanRowsMax);
    const found = state.scan(start, to, wanted);
    for (const row of found) rows.push(row);
    if (found.length < wanted) break;
    start = Buffer.concat([found.at(-1)![0], Buffer.of(0)]);
  }
  return rows;
}
