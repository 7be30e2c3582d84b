/**
 * Turns numbers into operations on a namespace and its model, and compares the two. Each step is four numbers, taken
 * modulo what there is to choose from, so that any numbers are a valid step and a failing case can be made smaller.
 */
import { strict as assert } from "node:assert";
import { type ErrnoName, errno } from "../../errors/errno.ts";
import { chunkBytes, extendedBytesMax } from "../model.ts";
import type { Operation, Transaction } from "../operation.ts";
import { change, type DrivenSession, Driver, describe, renaming, writing } from "./driver.ts";
import { Model, type Outcome } from "./model.ts";

export type Step = readonly [kind: number, first: number, second: number, third: number];

/** Actions that the first number of a step chooses from; the last one ends the session. */
export const actionCount = 23;

const names = ["a", "b", "c", "\xfe"];
const types = ["file", "directory", "file", "symlink"] as const;
const extendedNames = ["user.a", "user.b", "security.c"];
const extendedModes = ["set", "create", "set", "replace"] as const;
const modes = [0o644, 0o2755, 0o4777, 0o755];

export class RandomClient {
  readonly driver = new Driver();
  readonly model: Model;
  /** All batches that were applied, to be applied again elsewhere. */
  readonly batches: Transaction[][] = [];
  /** Every number that an inode ever had, and one that none has. */
  readonly #inodes: number[];
  #session: DrivenSession;
  #clients = 0;
  /** Chunks that the present session was granted and has not used. */
  readonly #unused: number[] = [];

  constructor() {
    const apply = this.driver.apply.bind(this.driver);
    this.driver.apply = (...transactions) => {
      this.batches.push(transactions);
      return apply(...transactions);
    };
    const root = this.driver.makeVolume();
    this.model = new Model(root, (inode) => this.driver.namespace.inode(1, inode)?.tree ?? 0);
    this.#inodes = [999_999, root];
    this.#session = this.#openSession();
  }

  step([kind, first, second, third]: Step): void {
    const actions = [
      () => this.#create(first, second, third),
      () => this.#create(first, second, third),
      () => this.#create(first, second, third),
      () => this.#link(first, second, third),
      () => this.#remove(first, second, third),
      () => this.#rename(first, second, third),
      () => this.#rename(first, second, third),
      () => this.#exchange(first, second, third),
      () => this.#createUnnamed(first, second),
      () => this.#write(first, second, third),
      () => this.#write(first, second, third),
      () => this.#truncate(first, second, third),
      () => this.#place(first, second, third),
      () => this.#chmod(first, second),
      () => this.#setExtended(first, second, third),
      () => this.#removeExtended(first, second),
      () => this.#reap(first, second),
      () => this.#confirmDeletions(first, second),
      () => this.#chown(first, second),
      () => this.#setQuota(first, second),
      () => this.#count(first),
      () => this.#count(first),
      () => this.#replaceSession(first),
    ];
    assert.equal(actions.length, actionCount);
    actions[kind % actionCount]!();
  }

  /** The namespace shows what the model has. */
  compare(): void {
    const { namespace } = this.driver;
    for (const node of this.model.nodes.values()) {
      const { attributes, extendedAttributes } = namespace.inode(1, node.inode)!;
      assert.deepEqual(new Map(extendedAttributes.map(({ name, value }) => [name, value.byteLength])), node.extended);
      const expected = [node.type, node.mode, node.gid, this.model.linkCount(node), node.chunks.size];
      const { type, mode, gid, linkCount, chunkCount } = attributes;
      assert.deepEqual([type, mode, gid, linkCount, chunkCount], expected);
      assert.equal(attributes.size, node.type === "directory" ? node.entries.size * 32 : node.size);
      const { mappings } = namespace.mappings(1, node.inode, 0, 100);
      assert.deepEqual(new Map(mappings.map(({ index, chunk }) => [index, chunk])), node.chunks);
      if (node.type !== "directory") continue;
      const listed = namespace.readDirectory(1, node.inode, 0, 100);
      const entries = [...node.entries].map(([name, { inode }]) => [name, inode]);
      assert.deepEqual(
        listed.map(({ name, inode }) => [name, inode]),
        entries,
      );
    }
    assert.equal(namespace.volumes()[0]!.inodeCount, this.model.nodes.size);
    const orphans = namespace.orphans(0, 1000).map(({ inode }) => inode);
    assert.deepEqual(orphans, this.model.orphans());
    const toDelete = [...this.model.toDelete].sort((left, right) => left - right);
    assert.deepEqual(namespace.chunksToDelete(0, 10_000), toDelete);
    assert.equal(namespace.chunksToDeleteCount, toDelete.length);
  }

  #create(first: number, second: number, third: number): void {
    const inode = this.#session.inode();
    const [parent, name, type, mode] = [
      this.#directory(first),
      pick(names, second),
      pick(types, third),
      pick(modes, second),
    ];
    this.#expect(
      this.model.create(parent, name, inode, type, mode),
      this.#session.creation(type, parent, name, { inode, mode }),
    );
    this.#inodes.push(inode);
  }

  #link(first: number, second: number, third: number): void {
    const [inode, parent, name] = [this.#inode(first), this.#directory(second), pick(names, third)];
    this.#expect(this.model.link(inode, parent, name), { kind: "link", inode, parent, name });
  }

  #remove(first: number, second: number, third: number): void {
    const [parent, isRmdir] = [this.#directory(first), third % 2 === 0];
    const name = this.#name(parent, second);
    this.#expect(this.model.remove(parent, name, isRmdir), { kind: isRmdir ? "rmdir" : "unlink", parent, name });
  }

  #rename(first: number, second: number, third: number): void {
    const [parent, newParent, noReplace] = [this.#directory(first), this.#directory(third), second % 5 === 0];
    const [name, newName] = [this.#name(parent, second), pick(names, third)];
    this.#expect(
      this.model.rename(parent, name, newParent, newName, noReplace),
      renaming(parent, name, newParent, newName, noReplace),
    );
  }

  #exchange(first: number, second: number, third: number): void {
    const [parent, newParent] = [this.#directory(first), this.#directory(third)];
    const [name, newName] = [this.#name(parent, second), this.#name(newParent, third)];
    const exchanged = { kind: "exchange", parent, name, newParent, newName } as const;
    this.#expect(this.model.exchange(parent, name, newParent, newName), exchanged);
  }

  #createUnnamed(first: number, second: number): void {
    const inode = this.#session.inode();
    const [parent, mode] = [this.#directory(first), pick(modes, second)];
    const asked = { kind: "createUnnamed", parent, inode, mode, umask: 0, uid: 1000, gid: 1000 } as const;
    this.#expect(this.model.createUnnamed(parent, inode, mode), asked);
    this.#inodes.push(inode);
  }

  #write(first: number, second: number, third: number): void {
    const inode = this.#file(first);
    const index = second % 5;
    const end = index * chunkBytes + 1 + (third % chunkBytes);
    const chunk = third % 3 === 0 ? undefined : this.#chunk();
    const outcome = this.model.write(inode, end, index, chunk);
    this.#useChunk(outcome, chunk);
    this.#expect(outcome, writing(inode, end, chunk === undefined ? [] : [{ index, chunk }]));
  }

  #truncate(first: number, second: number, third: number): void {
    const inode = this.#file(first);
    const size = (second % 4) * chunkBytes + (third % 3) * 1000;
    const clone = third % 3 === 1 ? this.#chunk() : undefined;
    const mappings = clone === undefined ? [] : [{ index: Math.ceil(size / chunkBytes) - 1, chunk: clone }];
    const outcome = this.model.truncate(inode, size, clone);
    this.#useChunk(outcome, clone);
    this.#expect(outcome, change(inode, { size, mappings }));
  }

  #place(first: number, second: number, third: number): void {
    const inode = this.#file(first);
    const index = second % 5;
    const chunk = third % 3 === 0 ? undefined : this.#chunk();
    const outcome = this.model.place(inode, index, chunk);
    this.#useChunk(outcome, chunk);
    const mappings = chunk === undefined ? [] : [{ index, chunk }];
    this.#expect(outcome, { kind: "place", inode, pool: 0, mappings });
  }

  #chmod(first: number, second: number): void {
    const [inode, mode] = [this.#inode(first), pick(modes, second)];
    this.#expect(this.model.chmod(inode, mode), change(inode, { mode }));
  }

  #chown(first: number, second: number): void {
    const [inode, uid] = [this.#inode(first), 1000 + (second % 3)];
    this.#expect(this.model.chmod(inode, this.model.nodes.get(inode)?.mode ?? 0), change(inode, { uid }));
  }

  /** Whatever comes of it: what must hold afterwards is checked by the invariants. */
  #setQuota(first: number, second: number): void {
    const kind = pick(["tree", "tree", "tree", "user", "group", "volume"] as const, second);
    const trees = this.driver.namespace.quotas(1).filter(({ subject }) => subject.kind === "tree");
    const ends = second % 4 === 0;
    const tree = ends && trees.length > 0 ? pick(trees, first).subject.id : this.#directory(first);
    const id = kind === "tree" ? tree : kind === "volume" ? 0 : 1000 + (first % 3);
    const limits = { bytes: ends ? undefined : second, inodes: undefined };
    this.driver.leader({ kind: "setQuota", volume: 1, subject: { kind, id }, limits });
  }

  /** A few entries of a directory that is being counted; now and then all of it. */
  #count(first: number): void {
    const { namespace } = this.driver;
    const all = namespace.quotaCounting(100);
    if (all.length === 0) return;
    const { volume, tree, directory, after } = pick(all, first);
    const isDirectory = this.model.nodes.get(directory)?.type === "directory";
    const entries = isDirectory ? namespace.readDirectory(volume, directory, after, 1 + (first % 4)) : [];
    const upTo = entries.at(-1)?.cookie ?? after;
    const last = !isDirectory || namespace.readDirectory(volume, directory, upTo, 1).length === 0;
    const counted = this.driver.leader({ kind: "countTree", volume, tree, directory, upTo, last });
    assert.equal(describe(counted), "done");
  }

  #setExtended(first: number, second: number, third: number): void {
    const [inode, name, mode] = [this.#inode(first), pick(extendedNames, second), pick(extendedModes, third)];
    const length = third % 5 === 0 ? extendedBytesMax - 100 : third % 50;
    const value = Buffer.alloc(length, second % 256);
    this.#expect(this.model.setExtended(inode, name, length, mode), {
      kind: "setExtendedAttribute",
      inode,
      name,
      value,
      mode,
    });
  }

  #removeExtended(first: number, second: number): void {
    const [inode, name] = [this.#inode(first), pick(extendedNames, second)];
    this.#expect(this.model.removeExtended(inode, name), { kind: "removeExtendedAttribute", inode, name });
  }

  #reap(first: number, second: number): void {
    const orphans = this.model.orphans();
    const inode = orphans.length > 0 ? pick(orphans, first) : this.#inode(first);
    const limit = 1 + (second % 3);
    const outcome = this.model.reap(inode, limit);
    const result = this.driver.leader({ kind: "reapOrphan", volume: 1, inode, limit });
    assert.equal(describe(result), outcome ?? "reaped");
  }

  #confirmDeletions(first: number, second: number): void {
    const chunks = [...this.model.toDelete].filter((_, at) => (at + first) % 3 !== 0).slice(0, second % 20);
    for (const chunk of chunks) this.model.toDelete.delete(chunk);
    this.driver.leader({ kind: "chunksDeleted", chunks });
  }

  /** A session ends (sometimes after it has given chunks back), and another comes. */
  #replaceSession(first: number): void {
    if (first % 2 === 0 && this.#unused.length > 0) {
      const chunks = this.#unused.splice(0, 3);
      for (const chunk of chunks) this.model.toDelete.add(chunk);
      this.#expect(undefined, { kind: "discardChunks", chunks });
    }
    this.driver.leader({ kind: "closeSession", session: this.#session.id });
    for (const chunk of this.#unused.splice(0)) this.model.toDelete.add(chunk);
    this.#session = this.#openSession();
  }

  #openSession(): DrivenSession {
    this.#clients += 1;
    return this.driver.openSession(`client-${this.#clients}`);
  }

  #expect(outcome: Outcome, operation: Operation): void {
    const result = this.#session.run(operation);
    const got = result.kind === "failed" ? result.errno : undefined;
    const expected = outcome === undefined ? undefined : errno[outcome satisfies ErrnoName];
    assert.equal(got, expected, `${operation.kind}: ${describe(result)}, not ${outcome ?? "done"}`);
  }

  /** Mostly one that is there; else any that ever was, or never. */
  #inode(number: number): number {
    const [rare, which] = split(number, 8);
    return rare === 0 ? pick(this.#inodes, which) : pick([...this.model.nodes.keys()], which);
  }

  #file(number: number): number {
    const [rare, which] = split(number, 8);
    const files = [...this.model.nodes.values()].filter(({ type }) => type === "file");
    return rare === 0 || files.length === 0 ? this.#inode(which) : pick(files, which).inode;
  }

  #directory(number: number): number {
    const [rare, which] = split(number, 16);
    const directories = [...this.model.nodes.values()].filter(({ type }) => type === "directory");
    return rare === 0 ? this.#inode(which) : pick(directories, which).inode;
  }

  /** Mostly a name that is there. */
  #name(directory: number, number: number): string {
    const [rare, which] = split(number, 4);
    const present = [...(this.model.nodes.get(directory)?.entries.keys() ?? [])];
    return rare === 0 || present.length === 0 ? pick(names, which) : pick(present, which);
  }

  /** An unused chunk; it stays unused if the operation fails. */
  #chunk(): number {
    if (this.#unused.length === 0) {
      const result = this.#session.run({ kind: "grantChunks", count: 5, pool: 0 });
      assert.equal(result.kind, "granted");
      const { first, count } = result.kind === "granted" ? result.range : { first: 0, count: 0 };
      for (let at = 0; at < count; at++) this.#unused.push(first + at);
    }
    return this.#unused[0]!;
  }

  #useChunk(outcome: Outcome, chunk: number | undefined): void {
    if (outcome === undefined && chunk !== undefined) this.#unused.shift();
  }
}

/** Two numbers out of one. */
function split(number: number, by: number): [number, number] {
  return [number % by, Math.floor(number / by)];
}

function pick<T>(items: readonly T[], number: number): T {
  return items[number % items.length]!;
}
