/**
 * Random work, compared with a model of a POSIX tree after each step; and the same work again, with transactions sent
 * twice, with restarts in between, in other batches: always the same state.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { Transaction } from "./operation.ts";
import { Driver } from "./testing/driver.ts";
import { actionCount, RandomClient, type Step } from "./testing/random-client.ts";

/** A fixed seed: a test run must not fail by chance. Other seeds are for finding more, by hand. */
const seed = 20_080_617;
/** A failing case is made smaller for this long. */
const shrinkTimeMs = 20_000;

const number = fc.integer({ min: 0, max: 2 ** 20 });
const steps: fc.Arbitrary<Step[]> = fc.array(fc.tuple(number, number, number, number), {
  minLength: 20,
  maxLength: 120,
  size: "max",
});

test("the namespace does what a POSIX tree does", () => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const client = new RandomClient();
      for (const step of sequence) {
        client.step(step);
        client.compare();
      }
    }),
    { numRuns: 40, seed, interruptAfterTimeLimit: shrinkTimeMs },
  );
});

/** The digest after the batches, as `change` alters each of them; `between` runs after each. */
function digestOf(
  batches: readonly Transaction[][],
  change: (batch: Transaction[], at: number) => Transaction[],
  between: (driver: Driver) => void = () => {},
): string {
  const driver = new Driver();
  for (const [at, batch] of batches.entries()) {
    driver.index += 1;
    driver.namespace.applyBatch(driver.index, change(batch, at));
    between(driver);
  }
  return driver.digest();
}

test("the same transactions give the same state: sent twice, sent late, with restarts in between", () => {
  const repeats = fc.array(fc.nat({ max: 20 }), { minLength: 10, maxLength: 10 });
  fc.assert(
    fc.property(steps, repeats, (sequence, distances) => {
      const client = new RandomClient();
      for (const step of sequence) client.step(step);
      const { batches } = client;
      const digest = client.driver.digest();
      const same = (batch: Transaction[]): Transaction[] => batch;
      assert.equal(digestOf(batches, same), digest);
      assert.equal(
        digestOf(batches, same, (driver) => driver.reopen()),
        digest,
      );
      const ofClients = (at: number): Transaction[] => (batches[at] ?? []).filter(({ session }) => session !== 0);
      const withResends = (batch: Transaction[], at: number): Transaction[] => {
        const distance = distances[at % distances.length]!;
        return [...ofClients(at - distance), ...batch, ...ofClients(at - (distance % 3))];
      };
      assert.equal(digestOf(batches, withResends), digest);
    }),
    { numRuns: 20, seed, interruptAfterTimeLimit: shrinkTimeMs },
  );
});

test("a resend within the unconfirmed window has the very result of the first try", () => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const client = new RandomClient();
      const results = new Map<Transaction, unknown>();
      const apply = client.driver.apply;
      client.driver.apply = (...transactions) => {
        // Nothing is confirmed, as by a client that has lost all answers.
        const unconfirmed = transactions.map((one) => ({ ...one, confirmed: 0 }));
        const all = apply(...unconfirmed);
        for (const [at, one] of unconfirmed.entries()) results.set(one, all[at]);
        return all;
      };
      const inOneSession = sequence.filter(([kind]) => kind % actionCount !== actionCount - 1);
      for (const step of inOneSession) client.step(step);
      const sent = [...results.keys()].filter(({ session }) => session !== 0);
      client.driver.apply = apply;
      assert.deepEqual(
        client.driver.apply(...sent),
        sent.map((one) => results.get(one)),
      );
    }),
    { numRuns: 15, seed, interruptAfterTimeLimit: shrinkTimeMs },
  );
});
