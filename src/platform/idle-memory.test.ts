import assert from "node:assert/strict";
import { test } from "node:test";
import { IdleMemory } from "./idle-memory.ts";

const mebibyte = 1024 * 1024;

function setup() {
  const state = { busy: 1, resident: 100 * mebibyte, heap: 50 * mebibyte };
  const done: string[] = [];
  const idle = new IdleMemory(
    { busyShare: () => state.busy, residentBytes: () => state.resident, heapBytes: () => state.heap },
    {
      collectGarbage: () => done.push("collect"),
      trim: () => {
        done.push("trim");
        state.resident = 90 * mebibyte;
      },
    },
  );
  const looks = (count: number) => {
    for (let at = 0; at < count; at++) idle.look();
    return done.splice(0);
  };
  return { state, looks };
}

test("memory is given back once when it has been quiet for a while", () => {
  const { state, looks } = setup();
  assert.deepEqual(looks(5), [], "busy");
  state.busy = 0.01;
  assert.deepEqual(looks(1), [], "not for long");
  assert.deepEqual(looks(1), ["collect", "trim"]);
  assert.deepEqual(looks(10), [], "nothing has come since");
  state.resident += 31 * mebibyte;
  assert.deepEqual(looks(10), [], "too little");
  state.resident += mebibyte;
  state.busy = 0.06;
  assert.deepEqual(looks(10), [], "busy again");
  state.busy = 0;
  assert.deepEqual(looks(2), ["collect", "trim"]);
});

test("a large heap is not collected: it would take too long", () => {
  const { state, looks } = setup();
  state.busy = 0;
  state.heap = 513 * mebibyte;
  assert.deepEqual(looks(2), ["trim"]);
});
