/**
 * Programs that work on a mount of their own while servers are struck: fio, which verifies all that it wrote, and a tree that is
 * unpacked, compared and removed again and again. They may be slow; what they read must be what they wrote, and no call fails,
 * but for want of space while a disk is full.
 */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { hasProgram, runProgram, shell } from "./cluster.ts";

/** What `work` may end with, besides success. */
const noSpace = /No space left on device|ENOSPC/;

export interface Outcome {
  readonly whole: number;
  readonly outOfSpace: number;
}

/** Where faults last longer than a session: what a program may say of one that was lost. */
export interface LostSessions {
  readonly message: RegExp;
  /** How many the mount has lost, as its log says. */
  count(): number;
}

/** What each round of a program came to; `round` is a command that leaves nothing behind when it fails half way. */
async function repeat(what: string, round: string, untilMs: number, lost?: LostSessions): Promise<Outcome> {
  let [whole, outOfSpace] = [0, 0];
  // When the round before began: what that one had done may be undone.
  let [lostBefore, lostHere] = [0, 0];
  do {
    [lostBefore, lostHere] = [lostHere, lost?.count() ?? 0];
    const output = await runProgram("/bin/bash", ["-c", `set -eo pipefail; ${round}`], { timeoutMs: 300_000 });
    const said = output.stdout + output.stderr;
    if (output.code === 0) whole += 1;
    else if (noSpace.test(said)) outOfSpace += 1;
    else {
      const isOfLost = lost !== undefined && lost.count() > lostBefore && lost.message.test(said);
      assert.ok(isOfLost, `${what} ended with ${output.code}:\n${said.slice(-3_000)}`);
    }
  } while (performance.now() < untilMs);
  return { whole, outOfSpace };
}

/** Both until the time is over. The verification of fio compares each block with what was written last. */
export async function bystanders(
  directory: string,
  archive: string,
  untilMs: number,
  lost?: LostSessions,
): Promise<Record<string, Outcome>> {
  const tree = join(directory, "tree");
  const files = join(directory, "fio");
  await shell(`mkdir -p ${files}`);
  const fio = [
    `fio --directory=${files} --size=12m --verify=crc32c --verify_fatal=1 --verify_state_save=0 --do_verify=1`,
    "--verify_backlog=200 --output-format=terse --thread --group_reporting",
    "--name=mixed --rw=randrw --bsrange=512-64k --ioengine=psync --fsync=50",
    "--name=direct --rw=randwrite --bs=4k --direct=1 --ioengine=psync",
  ].join(" ");
  const rounds = [
    repeat(
      "untar",
      `rm -rf ${tree}; mkdir ${tree}; tar xf ${archive} -C ${tree}; tar df ${archive} -C ${tree}`,
      untilMs,
      lost,
    ),
  ];
  if (hasProgram("fio")) rounds.push(repeat("fio", `rm -f ${files}/*; ${fio}`, untilMs, lost));
  const [untarred, verified] = await Promise.all(rounds);
  return { untar: untarred!, ...(verified !== undefined && { "fio --verify": verified }) };
}
