/** Busy polling: who asks in quick succession finds the loop awake, who doesn't costs nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BusyPolling, type Turns } from "./busy-polling.ts";

/** A loop whose looks take 10 µs each; `run` lets time pass, sleeping where nobody looks. */
class Loop implements Turns {
  now = 1_000;
  looks = 0;
  #next: (() => void) | undefined;
  readonly polling = new BusyPolling(this);

  nowMs(): number {
    return this.now;
  }

  afterLooking(callback: () => void): void {
    assert.equal(this.#next, undefined, "one look at a time");
    this.#next = callback;
  }

  get isAwake(): boolean {
    return this.#next !== undefined;
  }

  run(ms: number): void {
    const end = this.now + ms;
    while (this.#next !== undefined && this.now < end) {
      const callback = this.#next;
      this.#next = undefined;
      this.now += 0.01;
      this.looks += 1;
      callback();
    }
    this.now = Math.max(this.now, end);
  }

  /** Messages at this distance; returns how many of them found the loop awake. */
  messages(count: number, everyMs: number): number {
    let awake = 0;
    for (let index = 0; index < count; index++) {
      this.run(everyMs);
      if (this.isAwake) awake += 1;
      this.polling.afterMessage();
    }
    return awake;
  }
}

test("who asks again within the window finds the loop awake", () => {
  const loop = new Loop();
  assert.equal(loop.messages(100, 0.05), 98);
  loop.run(1);
  assert.equal(loop.isAwake, false, "it sleeps when no more comes");
  assert.equal(loop.messages(100, 0.05), 98, "and looks again when it begins anew");
});

test("who asks slowly costs no look", () => {
  const loop = new Loop();
  loop.messages(1_000, 1);
  assert.equal(loop.looks, 0);
});

test("where looking never pays off it is tried ever more rarely, and at once again when it has", () => {
  const loop = new Loop();
  assert.equal(loop.messages(1_000, 0.3), 0);
  const vain = loop.looks;
  assert.ok(vain > 0 && vain < 30 * 22, `${vain} looks for 1,000 messages`);
  loop.messages(200, 0.05);
  assert.equal(loop.messages(100, 0.05), 100);
});

/** Lets messages come at these distances while the polling takes them by itself; returns how many it took, and its looks. */
function servedOn(loop: Loop, everyMs: number, stopAfter = Number.POSITIVE_INFINITY): { taken: number; looks: number } {
  let [taken, looks] = [0, 0];
  let nextMs = loop.now + everyMs;
  loop.polling.serveOn(() => {
    looks += 1;
    loop.now += 0.001;
    if (taken === stopAfter) return "stop";
    if (loop.now < nextMs) return "nothing";
    nextMs = loop.now + everyMs;
    taken += 1;
    loop.polling.afterMessage();
    return "message";
  });
  return { taken, looks };
}

test("messages in quick succession are taken without a turn of the loop, which gets one soon all the same", () => {
  const loop = new Loop();
  loop.messages(3, 0.05);
  const beganMs = loop.now;
  const { taken } = servedOn(loop, 0.01);
  assert.ok(taken >= 20, `${taken} messages`);
  assert.ok(loop.now - beganMs < 0.3, `after ${loop.now - beganMs} ms`);
});

test("a message that doesn't follow at once is left to the loop", () => {
  const loop = new Loop();
  loop.messages(3, 0.05);
  const { taken, looks } = servedOn(loop, 0.1);
  assert.equal(taken, 0);
  assert.ok(looks < 40, `${looks} looks`);
});

test("nothing is taken while somebody waits for the loop, nor when it isn't looking", () => {
  const loop = new Loop();
  assert.deepEqual(servedOn(loop, 0.01), { taken: 0, looks: 0 });
  loop.messages(3, 0.05);
  assert.deepEqual(servedOn(loop, 0.01, 2).taken, 2);
});
