/**
 * What goes bad by itself on a store's disk, of synced data of live blocks: bytes that change, and sectors that can't be read any more. What
 * is read must be right all the time, and after a scrub nothing may be bad any more. So it must never happen to the only good copy of a block:
 *
 * - Where nobody changes the cluster, it is always the same store that decays, while all members are whole: another one has a good copy of each.
 * - Where an operator does, members come and go. There each block is looked at: a member in sync that is there and is to stay must have a
 *   good copy of the same write, and nothing else strikes, and nobody takes copies away for good (copy-turns.ts), until no store has a bad copy
 *   any more. Moves of copies that are under way, or begin meanwhile, go on: what is bad must not be all that is left after them.
 */
import { type GroupRecord, groupOfChunk } from "../namespace/model.ts";
import { Violation } from "./checkers/violation.ts";
import type { SimulatedCluster } from "./cluster.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";
import type { StoredBlock } from "./stored-blocks.ts";

/** How a block goes bad. */
export type Decay = "rot" | "badSector";

const blocksMax = 4;
const scrubChance = 0.4;
const pollMs = 100;
/** Readers may be first. */
const scrubAfterMs = [0, 3_000] as const;
/** An order doesn't reach a store that is away, nor comes a group into a pass that has begun: it is given again. */
const scrubAgainMs = 10_000;
/** Several passes, with the leader away in between. */
const healMsMax = 120_000;
/** The choice may fall on a block that must not go bad. */
const attempts = 8;

export class Rot {
  readonly #cluster: SimulatedCluster;
  readonly #random: SimulatedRandom;
  #victim: SimulatedServer | undefined;

  constructor(cluster: SimulatedCluster, random: SimulatedRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  /** All members are whole, and stay members. True if anything went bad. */
  strike(how: Decay): boolean {
    this.#victim ??= this.#random.pick(this.#cluster.stores);
    // A scrub amid all else that goes on, too: what is under way, or in doubt, must be none of its business.
    if (this.#random.chance(scrubChance)) void this.#cluster.orderScrub();
    let hasStruck = false;
    for (let left = this.#random.between(1, blocksMax); left > 0; left--) {
      const block = this.#victim.blocks?.pick(this.#random);
      if (block === undefined) continue;
      this.#spoil(how, this.#victim, block);
      hasStruck = true;
    }
    return hasStruck;
  }

  /** Blocks of which another member that is to stay has a good copy: those that went bad, of one store. */
  strikeSpare(how: Decay): StoredBlock[] {
    const groups = new Map(this.#cluster.leader.metadata?.inspectGroups()?.map((group) => [group.group, group]));
    const victim = this.#random.pick(this.#cluster.stores);
    const struck: StoredBlock[] = [];
    const wanted = this.#random.between(1, blocksMax);
    for (let left = attempts; left > 0 && struck.length < wanted; left--) {
      const { blocks } = victim;
      const block = blocks?.pick(this.#random);
      if (block === undefined || !blocks!.isGood(block)) continue;
      // What shares the bytes goes bad with them.
      if (![...blocks!.copiesOf(block)].every((one) => this.#isElsewhere(victim, one, groups))) continue;
      this.#spoil(how, victim, block);
      struck.push(block);
    }
    return struck;
  }

  /** Resolves when no store has a bad copy of them. Errors: Violation. */
  async healed(struck: readonly StoredBlock[], wait: (ms: number) => Promise<void>): Promise<void> {
    let scrubAtMs: number = this.#random.between(...scrubAfterMs);
    for (let waitedMs = 0; waitedMs < healMsMax; waitedMs += pollMs) {
      if (this.#bad(struck) === undefined) return;
      if (waitedMs >= scrubAtMs) {
        void this.#cluster.orderScrub();
        scrubAtMs = waitedMs + scrubAgainMs;
      }
      await wait(pollMs);
    }
    throw new Violation(
      "rot is repaired",
      `${this.#bad(struck)} after ${healMsMax} ms, and good copies were elsewhere`,
    );
  }

  #spoil(how: Decay, server: SimulatedServer, block: StoredBlock): void {
    if (how === "rot") server.blocks?.rot(block, this.#random);
    else server.blocks?.spoil(block, this.#random);
    const { chunk, extent } = block;
    this.#cluster.world.log.add("info", `FAULT ${how}`, { host: server.host.name, chunk, block: extent.firstBlock });
  }

  /** True if losing this copy leaves a good one, at a member that nobody is about to give up. */
  #isElsewhere(victim: SimulatedServer, block: StoredBlock, groups: ReadonlyMap<number, GroupRecord>): boolean {
    const group = groups.get(groupOfChunk(block.chunk));
    // With one copy wanted, all others are on their way out.
    if (group === undefined || group.replicas < 2) return false;
    const inSync = group.members.filter(({ state }) => state === "inSync").map(({ store }) => store);
    const holders = this.#cluster.stores.filter(({ answeredGroups }) => {
      const isAnswering = answeredGroups?.views.some(
        (view) => view.group === group.group && view.generation === group.generation,
      );
      return isAnswering === true && inSync.includes(answeredGroups!.store);
    });
    if (!holders.includes(victim)) return false;
    return holders.some((holder) => holder !== victim && hasGood(holder, block));
  }

  /** Says which copy is bad; undefined: none, and all stores are there. */
  #bad(struck: readonly StoredBlock[]): string | undefined {
    for (const { plan, blocks } of this.#cluster.stores) {
      if (blocks === undefined) return `${plan.name} is away`;
      for (const block of struck) {
        for (const copy of blocks.copiesOf(block)) {
          if (!blocks.isGood(copy))
            return `block ${copy.extent.firstBlock} of chunk ${copy.chunk} is bad on ${plan.name}`;
        }
      }
    }
    return undefined;
  }
}

function hasGood({ blocks }: SimulatedServer, { chunk, extent }: StoredBlock): boolean {
  return [...(blocks?.copiesOf({ chunk, extent }) ?? [])].some((one) => one.chunk === chunk && blocks!.isGood(one));
}

/** A scrub: nothing is bad any more afterwards. And the disks lose no writes, so nothing may have been missing anywhere. */
export async function checkScrubbed(cluster: SimulatedCluster): Promise<void> {
  const { differingBlocks } = await cluster.scrubbed();
  if (differingBlocks === 0) return;
  throw new Violation("in-sync members are equal", `a scrub has found ${differingBlocks} blocks that were not`);
}
