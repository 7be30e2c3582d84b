/**
 * The store with the last good copy of all groups is gone for good, and an operator accepts that (decision 0028), while servers
 * crash. What is left is judged block by block, as promises.md has it: what both stores had is there; what was overwritten while the
 * heir was away may be what the heir has; what the heir never had is an error, never zeros; and holes may be errors too.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { FileSystem } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import { blockBytes, blocksPerChunk } from "../namespace/model.ts";
import { type ClusterStatus, changeStore } from "../wire/catalogue/admin.ts";
import { loseBlocks } from "../wire/catalogue/store.ts";
import { Attempts } from "./attempts.ts";
import { Violation } from "./checkers/violation.ts";
import { SimulatedCluster } from "./cluster.ts";
import type { Hooks } from "./hooks.ts";
import { owner } from "./model-operations.ts";
import { World } from "./simulated-platform.ts";
import { SimulatedRandom } from "./simulated-random.ts";
import type { ServerPlan, SimulatedServer } from "./simulated-server.ts";
import { withService } from "./testing/planting.ts";

const seeds = 8;
const limitMs = 300_000;
const pollMs = 100;
/** Two heartbeats: the leader knows which blocks are lost. */
const toldMs = 1_500;
const filesMax = 4;
const writesMax = 6;
const writtenBlocksMax = 12;
/** Of the first two chunks, these many blocks are written to and read. */
const blocksOfChunk = 32;

const layout: readonly ServerPlan[] = [
  { name: "meta", roles: ["metadata"] },
  { name: "alpha", roles: ["store"] },
  { name: "beta", roles: ["store"] },
];

const lost = "lost";
/** The number with which a block was filled; 0: zeros. */
type Content = number | typeof lost;
/** By block of a file. */
type Contents = Map<number, Content>;

/** What was written to each block of a file. */
class Written {
  readonly inode: number;
  /** Last, while both stores had everything. */
  readonly #before = new Map<number, number>();
  /** While the heir was away, or about to be: it may have some of it. */
  readonly #after = new Map<number, number[]>();

  constructor(inode: number) {
    this.inode = inode;
  }

  wrote(when: "before" | "after", block: number, tag: number): void {
    if (when === "before") this.#before.set(block, tag);
    else this.#after.set(block, [...(this.#after.get(block) ?? []), tag]);
  }

  newest(block: number): number {
    return this.#after.get(block)?.at(-1) ?? this.#before.get(block) ?? 0;
  }

  /** Throws Violation. */
  check(block: number, content: Content): void {
    const before = this.#before.get(block);
    const after = this.#after.get(block) ?? [];
    const mayBe = [
      ...after,
      ...(before === undefined ? [lost] : [before]),
      ...(after.length === 0 ? [this.newest(block)] : []),
    ];
    if (mayBe.includes(content)) return;
    throw new Violation(
      "what is left after an accepted loss",
      `block ${block} of inode ${this.inode} is ${content}, and may be ${mayBe.join(" or ")}`,
    );
  }
}

interface Seen {
  readonly lostBlocks: number;
  readonly olderBlocks: number;
}

class Stage {
  readonly #world: World;
  readonly #random: SimulatedRandom;
  readonly #cluster: SimulatedCluster;
  readonly #attempts: Attempts;
  readonly #files: Written[] = [];
  #tag = 0;

  constructor(seed: number, hooks: Hooks) {
    this.#world = new World(seed, "info");
    this.#random = new SimulatedRandom(`accepted loss ${seed}`);
    this.#cluster = new SimulatedCluster(this.#world, layout, ["one", "two"], hooks, {
      onClientDeath: () => {},
      onSessionAtRisk: () => {},
      onDefect: (error) => assert.fail(error),
    });
    this.#attempts = new Attempts(this.#cluster, "OPERATOR");
  }

  /** Errors: Violation. */
  async run(): Promise<Seen> {
    let outcome: { seen: Seen } | { error: Error } | undefined;
    this.#story().then(
      (seen) => {
        outcome = { seen };
      },
      (error: Error) => {
        outcome = { error };
      },
    );
    const end = await this.#world.scheduler.run(() => outcome !== undefined, { untilUs: limitMs * 1_000 });
    if (end !== "finished") throw new Violation("liveness", `${end}\n${this.#world.log.lines.slice(-40).join("\n")}`);
    if ("error" in outcome!) throw outcome.error;
    return outcome!.seen;
  }

  async #story(): Promise<Seen> {
    const random = this.#random;
    await this.#cluster.start();
    const [meta, alpha, beta] = this.#cluster.servers as [SimulatedServer, SimulatedServer, SimulatedServer];
    const { client: one } = await this.#cluster.clients[0]!.mount();
    await this.#write(one, "before");
    await this.#cluster.whole();

    // The heir goes, at once or in the midst of what follows.
    const heirIsGone = this.#wait(random.pick([0, random.below(20)])).then(() =>
      alpha.kill({ power: random.chance(0.5) }),
    );
    await this.#write(one, "after");
    await heirIsGone;
    await this.#until(({ groups }) => groups.every(({ members }) => members.filter(isInSync).length === 1));

    const gone = await this.#numberOf(beta);
    beta.kill({ power: true });
    await this.#wait(random.below(5_000));
    if (random.chance(0.7)) alpha.start();
    const trouble = this.#trouble([meta, alpha]);
    await this.#giveUp(gone);
    this.#cluster.leaveOut(beta);
    alpha.start();
    await trouble;
    await this.#until(({ groups }) => groups.every(({ members }) => members.some(isInSync)));
    if (random.chance(0.5)) await this.#addCopy(alpha);

    const { client: two } = await this.#cluster.clients[1]!.mount();
    const found = await this.#readAll(two);
    for (const file of this.#files) for (const [block, content] of found.get(file)!) file.check(block, content);
    await this.#wait(toldMs);
    await this.#checkNamed(found);
    // The one that is gone comes back after all: nobody believes it.
    beta.start();
    await this.#wait(toldMs);
    assert.equal(
      (await this.#cluster.status()).servers.some(({ address }) => address === beta.address),
      false,
    );
    assert.deepEqual(await this.#readAll(two), found, "what was read once stays");
    this.#checkKept(await this.#readAll(one), found);
    const seen = this.#seen(found);
    await this.#heal(two, found);
    assert.deepEqual(await this.#readAll(one), found);
    await this.#wait(toldMs);
    await this.#checkNamed(found);
    return seen;
  }

  // --- files ---

  /** To some blocks of some files; durable when it resolves. */
  async #write(client: FileSystem, when: "before" | "after"): Promise<void> {
    for (let left = this.#random.between(1, filesMax); left > 0; left--) await this.#make(client);
    for (const file of this.#files) {
      if (when === "after" && this.#random.chance(0.3)) continue;
      const handle = await client.open(file.inode, {});
      for (let left = this.#random.between(1, writesMax); left > 0; left--) {
        const first = this.#random.pick([0, 0, blocksPerChunk]) + this.#random.below(blocksOfChunk - writtenBlocksMax);
        for (let block = first; block < first + this.#random.between(1, writtenBlocksMax); block++) {
          file.wrote(when, block, await this.#fill(client, handle, block));
        }
      }
      await client.sync(handle);
      client.close(handle);
    }
  }

  async #make(client: FileSystem): Promise<void> {
    const node = { type: "file" as const, mode: 0o644, ...owner };
    const { inode } = await client.create(client.root, `file ${this.#files.length}`, node);
    this.#files.push(new Written(inode));
  }

  async #fill(client: FileSystem, handle: object, block: number): Promise<number> {
    this.#tag += 1;
    const data = Buffer.alloc(blockBytes);
    for (let at = 0; at < blockBytes; at += 4) data.writeUInt32LE(this.#tag, at);
    const written = await client.write(handle as never, block * blockBytes, data, { killPrivileges: false });
    assert.equal(written, blockBytes);
    return this.#tag;
  }

  /** What is in all blocks up to the ends of the files. */
  async #readAll(client: FileSystem): Promise<Map<Written, Contents>> {
    const found = new Map<Written, Contents>();
    for (const file of this.#files) {
      const contents: Contents = new Map();
      found.set(file, contents);
      const { attributes } = await client.getAttributes(file.inode);
      const handle = await client.open(file.inode, {});
      for (const first of [0, blocksPerChunk]) {
        for (let block = first; block < first + blocksOfChunk && block * blockBytes < attributes.size; block++) {
          contents.set(block, await this.#read(client, handle, block));
        }
      }
      client.close(handle);
    }
    return found;
  }

  async #read(client: FileSystem, handle: object, block: number): Promise<Content> {
    try {
      const data = Buffer.concat(await client.read(handle as never, block * blockBytes, blockBytes));
      const tag = data.readUInt32LE(0);
      const isWhole = data.length === blockBytes && data.every((byte, at) => byte === data[at % 4]);
      if (!isWhole) throw new Violation("no wrong bytes", `block ${block}: ${data.length} bytes, ${tag} first`);
      return tag;
    } catch (error) {
      if (error instanceof FileError && error.code === "EIO") return lost;
      throw error;
    }
  }

  /** The mount that wrote it may read it from its own cache. Throws Violation. */
  #checkKept(own: ReadonlyMap<Written, Contents>, found: ReadonlyMap<Written, Contents>): void {
    for (const [file, contents] of found) {
      for (const [block, content] of contents) {
        const kept = own.get(file)!.get(block)!;
        if (kept === content || kept === file.newest(block)) continue;
        throw new Violation("a mount keeps what was there", `block ${block} of inode ${file.inode} is ${kept}`);
      }
    }
  }

  /** What is lost is written anew, and is as good as any other; and something of each file, so that nobody else has it cached. */
  async #heal(client: FileSystem, found: ReadonlyMap<Written, Contents>): Promise<void> {
    for (const [{ inode }, contents] of found) {
      const handle = await client.open(inode, {});
      for (const [block, content] of contents) {
        if (content === lost || block === 0) contents.set(block, await this.#fill(client, handle, block));
      }
      await client.sync(handle);
      client.close(handle);
    }
  }

  /** Throws Violation where what is lost is not what the operator is told. */
  async #checkNamed(found: ReadonlyMap<Written, Contents>): Promise<void> {
    const { badRanges } = await this.#cluster.status();
    const isNamed = (inode: number, block: number) =>
      badRanges.some(
        (range) =>
          range.isLost &&
          range.inode === inode &&
          range.offset <= block * blockBytes &&
          (block + 1) * blockBytes <= range.offset + range.length,
      );
    for (const [{ inode }, contents] of found) {
      for (const [block, content] of contents) {
        if (isNamed(inode, block) === (content === lost)) continue;
        throw new Violation("what is lost is named", `block ${block} of inode ${inode} is ${content}`);
      }
    }
  }

  #seen(found: ReadonlyMap<Written, Contents>): Seen {
    let [lostBlocks, olderBlocks] = [0, 0];
    for (const [file, contents] of found) {
      for (const [block, content] of contents) {
        if (content === lost) lostBlocks += 1;
        else if (content !== file.newest(block)) olderBlocks += 1;
      }
    }
    return { lostBlocks, olderBlocks };
  }

  // --- the cluster ---

  /** Some of these crash and come back, while what is left is made to serve. */
  async #trouble(victims: readonly SimulatedServer[]): Promise<void> {
    for (let left = this.#random.below(4); left > 0; left--) {
      await this.#wait(this.#random.pick([5, 100, 4_000, this.#random.below(4_000)]));
      const victim = this.#random.pick(victims);
      victim.kill({ power: this.#random.chance(0.5) });
      await this.#wait(this.#random.below(1_000));
      victim.start();
    }
  }

  async #giveUp(store: number): Promise<void> {
    const isKnown = ({ servers }: ClusterStatus) => servers.some((server) => server.store === store);
    const request = { store: String(store), change: "giveUp" as const };
    // An answer that got lost may have been that it is done.
    while (isKnown(await this.#cluster.status())) {
      await this.#attempts.make(() => this.#cluster.request(changeStore, request));
      await this.#wait(pollMs);
    }
  }

  /** The marks are copied too: where the heir dies then, readers find them on the other store. */
  async #addCopy(heir: SimulatedServer): Promise<void> {
    const gamma = this.#cluster.addStore("gamma");
    const request = { store: gamma.address, change: "add" as const };
    while (!(await this.#attempts.make(() => this.#cluster.request(changeStore, request)))) await this.#wait(pollMs);
    await this.#cluster.whole();
    if (this.#random.chance(0.5)) heir.kill({ power: true });
  }

  async #numberOf({ address }: SimulatedServer): Promise<number> {
    const { servers } = await this.#cluster.status();
    return servers.find((server) => server.address === address)!.store;
  }

  async #until(condition: (status: ClusterStatus) => boolean): Promise<void> {
    while (!condition(await this.#cluster.status())) await this.#wait(pollMs);
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.#world.scheduler.schedule(ms * 1_000, "wait", resolve));
  }
}

function isInSync({ state }: { readonly state: string }): boolean {
  return state === "inSync";
}

test("after an accepted loss everything is what it was, older, or an error that is named, and heals", async () => {
  let [lostBlocks, olderBlocks] = [0, 0];
  for (let seed = 1; seed <= seeds; seed++) {
    const seen = await new Stage(seed, {}).run().catch((error) => assert.fail(`seed ${seed}: ${error.stack}`));
    lostBlocks += seen.lostBlocks;
    olderBlocks += seen.olderBlocks;
  }
  assert.ok(lostBlocks > 0 && olderBlocks > 0, `${lostBlocks} blocks were lost, ${olderBlocks} are older`);
});

test("planted: an heir that marks nothing, and zeros are read", async () => {
  const hooks = withService((service) => service.plant(loseBlocks, () => async () => ({})));
  await assert.rejects(new Stage(1, hooks).run(), /what is left after an accepted loss/);
});
