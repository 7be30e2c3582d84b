/** In which order READs for pages that reach the end of the file are answered. What is forgotten: forgetting.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MappedPages } from "./mapped-pages.ts";
import { FakeKernel, HandClock, KeptLogger, settle } from "./testing/fake-kernel.ts";

const [node, other] = [7, 8];
const pageBytes = 4096;

test("a READ that reaches the end waits for those of what is before it, of the same file", async () => {
  const pages = new MappedPages({ transport: new FakeKernel(), clock: new HandClock(), logger: new KeptLogger() });
  const read = (of: number, page: number) => pages.reading(of, page * pageBytes, pageBytes);
  const [first, second, third, elsewhere] = [read(node, 0), read(node, 1), read(node, 2), read(other, 0)];
  assert.equal(first.readsBefore(), undefined);
  assert.equal(elsewhere.readsBefore(), undefined);

  let waited = 0;
  const wait = async () => {
    for (let before = third.readsBefore(); before !== undefined; before = third.readsBefore()) {
      waited += 1;
      await before;
    }
  };
  const waiting = wait();
  second.failed();
  await settle();
  assert.notEqual(third.readsBefore(), undefined);
  const later = read(node, 1);
  first.answered();
  await settle();
  assert.notEqual(third.readsBefore(), undefined);
  later.answered();
  await waiting;
  assert.ok(waited >= 2);
  third.answered();
  elsewhere.answered();
});
