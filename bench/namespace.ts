/**
 * How many transactions the namespace applies in a second, on one core: in a plain map, in the memory KeyValue.
 *
 *     node bench/namespace.ts
 */
import { performance } from "node:perf_hooks";
import { encode } from "../src/codec/schema.ts";
import { Namespace, type State } from "../src/namespace/namespace.ts";
import { type Operation, type Transaction, transaction as transactionCodec } from "../src/namespace/operation.ts";
import { MemoryDatabase } from "../src/platform/memory-key-value.ts";

const batchSize = 64;

/** Point reads and writes as fast as can be; scans, which creating files does not need, sort everything. */
class MapState implements State {
  readonly #rows = new Map<string, Uint8Array>();
  get(key: Uint8Array): Uint8Array | undefined {
    return this.#rows.get(latin1(key));
  }
  put(key: Uint8Array, value: Uint8Array): void {
    this.#rows.set(latin1(key), Buffer.from(value));
  }
  delete(key: Uint8Array): void {
    this.#rows.delete(latin1(key));
  }
  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse = false): [Uint8Array, Uint8Array][] {
    const [low, high] = [Buffer.from(from).toString("latin1"), Buffer.from(to).toString("latin1")];
    const keys = [...this.#rows.keys()].filter((key) => key >= low && key < high).sort();
    if (reverse) keys.reverse();
    return keys.slice(0, limit).map((key) => [Buffer.from(key, "latin1"), this.#rows.get(key)!]);
  }
}

class Driver {
  readonly namespace: Namespace;
  #index = 0;
  #sequence = 0;
  #timeNs = 1n;

  constructor(state: State) {
    this.namespace = new Namespace(state);
  }

  leader(operation: Operation): void {
    this.#timeNs += 1000n;
    this.#apply([{ session: 0, sequence: 0, confirmed: 0, timeNs: this.#timeNs, predicted: false, operation }]);
  }

  client(operations: readonly Operation[]): number[] {
    const transactions = operations.map((operation): Transaction => {
      this.#sequence += 1;
      this.#timeNs += 1000n;
      // Grants are decided here, everything else has been executed by its client.
      const predicted = !operation.kind.startsWith("grant");
      const confirmed = Math.max(0, this.#sequence - 1 - batchSize);
      return { session: 1, sequence: this.#sequence, confirmed, timeNs: this.#timeNs, predicted, operation };
    });
    return this.#apply(transactions);
  }

  /** First numbers of what was granted. */
  #apply(transactions: Transaction[]): number[] {
    this.#index += 1;
    return this.namespace.applyBatch(this.#index, transactions).map((result) => {
      if (result.kind === "failed") throw new Error(`failed with ${result.errno}`);
      return result.kind === "granted" ? result.range.first : 0;
    });
  }
}

function latin1(key: Uint8Array): string {
  return (key as Buffer).toString("latin1");
}

function measure(label: string, count: number, work: () => void): void {
  const before = performance.now();
  work();
  const seconds = (performance.now() - before) / 1000;
  console.log(`${label}: ${Math.round(count / seconds).toLocaleString("en")}/s`);
}

function run(label: string, state: State, directories: number, filesEach: number): void {
  const driver = new Driver(state);
  driver.leader({
    kind: "createVolume",
    name: "bench",
    replicas: 1,
    inSyncMin: 1,
    uid: 0,
    gid: 0,
    mode: 0o755,
    groups: [],
  });
  driver.leader({ kind: "openSession", clientId: "bench", volume: 1, host: "bench" });
  let next = 0;
  let left = 0;
  const inode = (): number => {
    if (left === 0) {
      next = driver.client([{ kind: "grantInodes", count: 4096 }])[0]!;
      left = 4096;
    }
    left -= 1;
    next += 1;
    return next - 1;
  };
  const node = { mode: 0o644, umask: 0, uid: 0, gid: 0, device: 0, target: "" };
  const parents: number[] = [];
  for (let number = 0; number < directories; number++) {
    parents.push(inode());
    const directory = { ...node, inode: parents.at(-1)!, type: "directory" } as const;
    driver.client([{ kind: "create", parent: 1, name: `directory-${number}`, ...directory }]);
  }
  const each = (make: (parent: number, file: number) => Operation): void => {
    for (const parent of parents) {
      for (let file = 0; file < filesEach; file += batchSize) {
        const batch: Operation[] = [];
        for (let at = file; at < Math.min(file + batchSize, filesEach); at++) batch.push(make(parent, at));
        driver.client(batch);
      }
    }
  };
  const total = directories * filesEach;
  const name = (file: number): string => `source-file-${file}.c`;
  const files: number[] = [];
  measure(`${label}, create`, total, () =>
    each((parent, file) => {
      const number = inode();
      files.push(number);
      return { kind: "create", parent, name: name(file), ...node, inode: number, type: "file" };
    }),
  );
  let at = 0;
  measure(`${label}, write`, total, () =>
    each(() => ({ kind: "write", inode: files[at++]!, mappings: [], end: 100, killPrivileges: false })),
  );
  measure(`${label}, rename`, total, () =>
    each((parent, file) => {
      const [newParent, newName] = [parent, `renamed-${file}`];
      return { kind: "rename", parent, name: name(file), newParent, newName, noReplace: false };
    }),
  );
  measure(`${label}, unlink`, total, () =>
    each((parent, file) => ({ kind: "unlink", parent, name: `renamed-${file}` })),
  );
}

run("warming up", new MapState(), 20, 500);
run("map", new MapState(), 100, 1000);
run("memory KeyValue", new MemoryDatabase("bench").open(), 100, 1000);

const operation = { kind: "unlink", parent: 1, name: "some-name" } as const;
const bytes = encode(transactionCodec, {
  session: 1,
  sequence: 1,
  confirmed: 0,
  timeNs: 1n,
  predicted: true,
  operation,
}).byteLength;
console.log(`an unlink of a short name is ${bytes} bytes in the ledger`);
