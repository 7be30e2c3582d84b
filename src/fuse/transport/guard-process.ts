/**
 * The guard's program: see guard.ts. Descriptor 3 is /dev/fuse, 4 the shared file, 5 the connection's `abort`. It ends with
 * its input, or at the signal that the kernel sends when the process dies that serves the mount; it cuts the connection then.
 *
 * A notification blocks as long as the kernel waits for an answer: so each is written by a thread of the pool. Once the
 * connection is cut, all of them get through.
 *
 * Uses process and fs directly: it runs beside the client, and is a way out to the kernel.
 */
import { readSync, write, writeSync } from "node:fs";
import { realClock } from "../../platform/real-clock.ts";
import { incEpoch, pageInvalidation } from "../notify-messages.ts";
import { stateLayout } from "../page-watch.ts";

const [fuse, state, abort] = [3, 4, 5];
/** Also after a suspend of the machine old pages go so soon. */
const lookEveryMs = 200;
/** What waits for nobody takes microseconds. */
const patienceMs = 200;
const nodesAtOnce = 512;

/** Whose pages went since the deadline passed. */
const done = new Set<number>();
let busy = false;

function numberAt(offset: number): number {
  const word = Buffer.alloc(stateLayout.slotBytes);
  return readSync(state, word, 0, word.length, offset) === word.length ? word.readDoubleLE(0) : 0;
}

function isOver(): boolean {
  const deadlineMs = numberAt(stateLayout.deadline);
  return deadlineMs !== 0 && realClock.nowMs() >= deadlineMs;
}

function* listedNodes(): Generator<number> {
  const slots = Buffer.alloc(nodesAtOnce * stateLayout.slotBytes);
  for (let at: number = stateLayout.nodes; ; at += slots.length) {
    const count = readSync(state, slots, 0, slots.length, at);
    for (let slot = 0; slot + stateLayout.slotBytes <= count; slot += stateLayout.slotBytes) {
      const node = slots.readDoubleLE(slot);
      if (node !== 0) yield node;
    }
    if (count < slots.length) return;
  }
}

function cut(): void {
  try {
    writeSync(abort, "1");
  } catch {
    // The connection has ended already.
  }
}

function cutForStopped(): void {
  const word = Buffer.alloc(stateLayout.slotBytes);
  word.writeDoubleLE(1, 0);
  writeSync(state, word, 0, word.length, stateLayout.cut);
  cut();
}

/** Errors say that the kernel does not know the node, or the message, or that the connection has ended: nothing is left. */
function notify(message: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const patience = realClock.startTimer(patienceMs, cutForStopped);
    write(fuse, message, () => {
      patience.cancel();
      resolve();
    });
  });
}

async function takePages(): Promise<void> {
  await notify(incEpoch());
  for (const node of listedNodes()) {
    if (done.has(node)) continue;
    // It woke up, and heard that its session stands.
    if (!isOver()) return;
    done.add(node);
    await notify(pageInvalidation(node, 0, 0));
  }
}

async function look(): Promise<void> {
  realClock.startTimer(lookEveryMs, () => void look());
  if (busy) return;
  if (!isOver()) {
    done.clear();
    return;
  }
  if ([...listedNodes()].every((node) => done.has(node))) return;
  busy = true;
  await takePages();
  busy = false;
}

function end(): void {
  cut();
  process.exit(0);
}

process.on("SIGUSR2", end);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
process.stdin.on("end", end).on("error", end).resume();
void look();
