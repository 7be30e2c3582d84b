/**
 * Property: after any crash, failed sync and loss of power, what was acknowledged is replayed in order, and nothing is that
 * was not appended; also for an owner who asks for what came behind the end that an earlier start has told him.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import * as fc from "fast-check";
import { hasCode } from "../errors/brine-error.ts";
import type { LogPosition } from "./segment-log.ts";
import { FaultyDisk } from "./testing/faulty-disk.ts";
import { openLog, payloadOf, text } from "./testing/log-fixture.ts";

/** Small numbers from a seed, for the many small choices of a crash (mulberry32). */
function choices(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

const life = fc.record({
  operations: fc.nat(60),
  callers: fc.integer({ min: 1, max: 5 }),
  blocksMax: fc.nat(5),
  /** How much of what was not synced is kept: nothing, some, all. */
  kept: fc.constantFrom(0, 0.5, 0.9, 1),
  /** Ends with the process; the machine keeps its power. */
  restarts: fc.boolean(),
  failingSync: fc.option(fc.nat(12), { nil: Number.POSITIVE_INFINITY }),
  /** The owner remembers where the log ended when it was opened, and asks only for what is behind it from then on. */
  remembers: fc.boolean(),
  seed: fc.integer(),
});

test("what was acknowledged survives crashes, in order, and nothing is invented", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 6 }), async (lives) => {
      let disk = new FaultyDisk();
      /** What every later replay must begin with, and what it may go on with. */
      let certain: string[] = [];
      let possible: string[] = [];
      let made = 0;
      let from: LogPosition | undefined;
      for (const { operations, callers, blocksMax, kept, restarts, failingSync, remembers, seed } of [
        ...lives,
        lookingOnly,
      ]) {
        const choose = choices(seed);
        disk.operationsLeft = operations;
        disk.failingSync = failingSync;
        const opening = openLog(disk, { from }).catch(failedSync);
        const opened = await Promise.race([opening, disk.died.then(() => undefined)]);
        if (opened !== undefined) {
          const { log, replayed } = opened;
          const found = replayed.map(text);
          assert.deepEqual(found.slice(0, certain.length), certain);
          assert.deepEqual(found.slice(certain.length), possible.slice(0, found.length - certain.length));
          for (const record of replayed) {
            const buffer = Buffer.alloc(record.payloadBytes);
            const reading = log.read(record.segment, record.payloadOffset, buffer).then(() => true);
            if (!(await Promise.race([reading, disk.died.then(() => false)]))) break;
            const expected = payloadOf(Number(text(record)), buffer.length / 4096);
            assert.deepEqual(buffer, Buffer.concat(expected));
          }
          [certain, possible] = [found, []];
          if (remembers) [certain, from] = [[], log.end];
          const caller = async () => {
            for (let round = 0; round < 20; round++) {
              const name = `${made++}`;
              possible.push(name);
              await log.append(Buffer.from(name), payloadOf(Number(name), Math.floor(choose() * (blocksMax + 1))));
              assert.equal(possible[0], name, "acknowledged in the order of the calls");
              possible.shift();
              certain.push(name);
            }
          };
          const all = Promise.all(Array.from({ length: callers }, caller));
          await Promise.race([all.catch(failedSync), disk.died]);
        }
        disk = restarts ? disk.afterRestart() : disk.afterCrash(() => choose() < kept);
      }
    }),
    { numRuns: 300, examples: [[zeroedInTheCacheOnly]] },
  );
});

type Life = typeof life extends fc.Arbitrary<infer Drawn> ? Drawn : never;

/** The last life only looks. */
const lookingOnly: Life = {
  operations: 10_000,
  callers: 0,
  blocksMax: 0,
  kept: 0,
  restarts: false,
  failingSync: Number.POSITIVE_INFINITY,
  remembers: false,
  seed: 0,
};

/** The log is closed, and its owner starts again. */
function failedSync(error: unknown): undefined {
  if (!hasCode(error, "diskFailed")) throw error;
}

/** An unfinished commit is taken away; the sync of that fails, the next start finds it gone, and power loss brings it back. */
const zeroedInTheCacheOnly: Life[] = [
  { ...lookingOnly, operations: 14, callers: 1, blocksMax: 1, kept: 0.9, seed: -1162165788 },
  { ...lookingOnly, operations: 13, callers: 1, restarts: true, failingSync: 2 },
  { ...lookingOnly, operations: 22, callers: 1 },
];
