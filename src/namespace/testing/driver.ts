/** Drives a Namespace in tests: numbers transactions, hands out granted ids, checks the invariants after each batch. */
import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { decode, encode } from "../../codec/schema.ts";
import { errnoName } from "../../errors/errno.ts";
import { MemoryDatabase, type MemoryKeyValue } from "../../platform/memory-key-value.ts";
import { checkInvariants } from "../invariants.ts";
import type { Attributes, FileType } from "../model.ts";
import { Namespace } from "../namespace.ts";
import { type Operation, type OperationOf, type Result, type Transaction, transaction } from "../operation.ts";

/** Fields of an operation that a test doesn't care about. */
const node = { mode: 0o644, umask: 0, uid: 1000, gid: 1000, device: 0, target: "" };
const noChange = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: undefined,
  atime: undefined,
  mtime: undefined,
  ctime: undefined,
  mappings: [],
  killPrivileges: false,
};

export class Driver {
  readonly database = new MemoryDatabase("state");
  readonly state: MemoryKeyValue = this.database.open();
  namespace = new Namespace(this.state);
  timeNs = 1_000_000n;
  index = 0;

  /** Opens the namespace anew on the same state, as after a restart. */
  reopen(): void {
    this.namespace = new Namespace(this.state);
  }

  apply(...transactions: Transaction[]): Result[] {
    this.index += 1;
    // As they come out of the ledger.
    const results = this.namespace.applyBatch(
      this.index,
      transactions.map((one) => decode(transaction, encode(transaction, one))),
    );
    assert.deepEqual(checkInvariants(this.state), []);
    return results;
  }

  /** The leader's transaction, 1 ms after the one before. */
  leader(operation: Operation): Result {
    this.timeNs += 1_000_000n;
    return this.apply({ session: 0, sequence: 0, confirmed: 0, timeNs: this.timeNs, predicted: false, operation })[0]!;
  }

  /** A volume with two stores and `groups` groups; returns its root. */
  makeVolume(name = "home", groups = 2): number {
    if (this.namespace.stores().length === 0) {
      this.leader({ kind: "registerStore", serverId: "one", address: "127.0.0.1:1", labels: [] });
      this.leader({ kind: "registerStore", serverId: "two", address: "127.0.0.1:2", labels: [] });
    }
    const members = [1, 2].map((store) => ({ store, state: "inSync" as const }));
    const made = Array.from({ length: groups }, () => members);
    this.leader({ kind: "createVolume", name, replicas: 2, inSyncMin: 1, uid: 0, gid: 0, mode: 0o755, groups: made });
    return this.namespace.volumeByName(name)!.root;
  }

  openSession(clientId = "client", volume = 1): DrivenSession {
    const result = this.leader({ kind: "openSession", clientId, volume, host: "host" });
    assert.equal(result.kind, "session");
    return new DrivenSession(this, result.kind === "session" ? result.session : 0);
  }

  /** Of all rows. */
  digest(): string {
    const hash = createHash("sha256");
    for (const [key, value] of [...this.database.snapshot()].sort(([left], [right]) => (left < right ? -1 : 1))) {
      hash.update(`${key.length} ${value.length} `).update(key, "latin1").update(value);
    }
    return hash.digest("hex");
  }
}

/** One client. */
export class DrivenSession {
  readonly driver: Driver;
  readonly id: number;
  sequence = 0;
  readonly #inodes: number[] = [];
  readonly #chunks: number[] = [];

  constructor(driver: Driver, id: number) {
    this.driver = driver;
    this.id = id;
  }

  /** The next transaction, without applying it. Confirms all before it. */
  transaction(operation: Operation): Transaction {
    this.sequence += 1;
    this.driver.timeNs += 1_000_000n;
    const { sequence, id } = this;
    return { session: id, sequence, confirmed: sequence - 1, timeNs: this.driver.timeNs, predicted: false, operation };
  }

  run(operation: Operation): Result {
    return this.driver.apply(this.transaction(operation))[0]!;
  }

  attributes(operation: Operation): Attributes {
    const result = this.run(operation);
    if (result.kind !== "attributes") assert.fail(`${operation.kind}: ${describe(result)}`);
    return result.attributes;
  }

  /** The orphan it left. */
  removed(operation: Operation): number {
    const result = this.run(operation);
    if (result.kind !== "removed") assert.fail(`${operation.kind}: ${describe(result)}`);
    return result.orphan;
  }

  inode(): number {
    if (this.#inodes.length === 0) this.#inodes.push(...this.#grant({ kind: "grantInodes", count: 64 }));
    return this.#inodes.shift()!;
  }

  chunk(): number {
    if (this.#chunks.length === 0) this.#chunks.push(...this.#grant({ kind: "grantChunks", count: 16, pool: 0 }));
    return this.#chunks.shift()!;
  }

  #grant(operation: OperationOf<"grantInodes"> | OperationOf<"grantChunks">): number[] {
    const result = this.run(operation);
    if (result.kind !== "granted") assert.fail(`${operation.kind}: ${describe(result)}`);
    return Array.from({ length: result.range.count }, (_, at) => result.range.first + at);
  }

  make(type: FileType, parent: number, name: string, fields: Partial<OperationOf<"create">> = {}): Attributes {
    return this.attributes(this.creation(type, parent, name, fields));
  }

  creation(
    type: FileType,
    parent: number,
    name: string,
    fields: Partial<OperationOf<"create">> = {},
  ): OperationOf<"create"> {
    const target = type === "symlink" ? "target" : "";
    return { kind: "create", ...node, target, parent, name, inode: fields.inode ?? this.inode(), type, ...fields };
  }

  file(parent: number, name: string, fields: Partial<OperationOf<"create">> = {}): number {
    return this.make("file", parent, name, fields).inode;
  }

  directory(parent: number, name: string, fields: Partial<OperationOf<"create">> = {}): number {
    return this.make("directory", parent, name, { mode: 0o755, ...fields }).inode;
  }

  get(inode: number): Attributes {
    const { volume } = this.driver.namespace.session(this.id)!;
    const record = this.driver.namespace.inode(volume, inode);
    assert.ok(record !== undefined, `inode ${inode} is not there`);
    return record.attributes;
  }
}

export function renaming(
  parent: number,
  name: string,
  newParent: number,
  newName: string,
  noReplace = false,
): OperationOf<"rename"> {
  return { kind: "rename", parent, name, newParent, newName, noReplace };
}

export function change(
  inode: number,
  fields: Partial<Omit<OperationOf<"setAttributes">, "kind" | "inode">>,
): OperationOf<"setAttributes"> {
  return { kind: "setAttributes", inode, ...noChange, ...fields };
}

export function writing(
  inode: number,
  end: number,
  mappings: OperationOf<"write">["mappings"] = [],
  killPrivileges = false,
): OperationOf<"write"> {
  return { kind: "write", inode, mappings, end, killPrivileges };
}

/** `EEXIST` for a failure, else the kind of the result. */
export function describe(result: Result): string {
  return result.kind === "failed" ? errnoName(result.errno) : result.kind;
}

export function assertFails(result: Result, code: string): void {
  assert.equal(describe(result), code);
}
