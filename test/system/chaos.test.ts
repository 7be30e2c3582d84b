/**
 * Clients, stores and the metadata server are stopped, killed and cut off at random moments, bytes flip on the stores' disks,
 * and the disks fill up, while programs work on two mounts. Whatever an fsync has promised is there at all times, and at the end both
 * mounts show the same. On a third mount, which nobody strikes, no call fails.
 */
import { strict as assert } from "node:assert";
import { closeSync, globSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Agent } from "./agent.ts";
import { bystanders } from "./bystanders.ts";
import {
  brine,
  Cluster,
  full,
  type Mount,
  type Output,
  root,
  runProgram,
  scratch,
  shell,
  startPython,
  undo,
  waitFor,
} from "./cluster.ts";
import { sourceArchive } from "./source-tree.ts";
import { type Place, TestNetwork, whyNoNetwork } from "./test-network.ts";

const seconds = full ? 1200 : 15;
/** Long enough to end sessions, in the full run. */
const longestFaultMs = full ? 16_000 : 2_500;
/**
 * Faults that outlast a session may end that of a client which nobody struck: it can't know of what it was cut off. What it had removed
 * since its last fsync may be there again, and rm(1) calls a directory whose list it could not read no empty one, or no file.
 */
const ofLostSession =
  /Input\/output error|Stale file handle|Cannot stat|Cannot open|Directory not empty|Is a directory/;
const diskBytes = full ? "4G" : "768M";
const worker = join(root, "test/system/chaos-worker.py");
const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));
const below = (limit: number) => Math.floor(Math.random() * limit);

/** A process that can be stopped, killed and cut off. */
interface Victim {
  readonly name: string;
  readonly place: Place;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL, a while of nothing, and a new start. */
  restart(pauseMs: number): Promise<void>;
  /** Flips bytes on its disk, which a scrub repairs: until then another copy is the only good one. */
  flip?(): Promise<void>;
  /** Nothing more fits on its disk, for a while. */
  fill?(forMs: number): Promise<void>;
  /** Waits until it can be struck again. */
  settled(): Promise<void>;
}

class Chaos {
  readonly events: string[] = [];
  readonly #network: TestNetwork;
  readonly #startedMs = performance.now();
  #isOver = false;

  constructor(network: TestNetwork) {
    this.#network = network;
  }

  /** No new faults. */
  stop(): void {
    this.#isOver = true;
  }

  /** Strikes one of the victims after the other until the time is over; every fault has ended when it returns. */
  async strike(victims: readonly Victim[], untilMs: number): Promise<void> {
    while (performance.now() < untilMs && !this.#isOver) {
      await pause(below(1_500));
      const victim = victims[below(victims.length)]!;
      const faults = ["stopped", "killed", "cut off", ...(victim.flip === undefined ? [] : ["flipped", "filled"])];
      const fault = faults[below(faults.length)]!;
      const forMs = below(3) === 0 ? below(longestFaultMs) : below(1_000);
      this.events.push(
        `${((performance.now() - this.#startedMs) / 1000).toFixed(1)} s: ${victim.name} ${fault} for ${forMs} ms`,
      );
      if (fault === "stopped") {
        victim.signal("SIGSTOP");
        await pause(forMs);
        victim.signal("SIGCONT");
      } else if (fault === "killed") {
        await victim.restart(forMs);
      } else if (fault === "flipped") {
        await victim.flip!();
      } else if (fault === "filled") {
        await victim.fill!(forMs);
      } else {
        await this.#network.cut(victim.place);
        await pause(forMs);
        await this.#network.mend(victim.place);
      }
      await victim.settled();
    }
  }
}

async function clientVictim(cluster: Cluster, name: string, place: Place): Promise<Victim & { mount: () => Mount }> {
  let mount = await cluster.mount(name, [], place);
  return {
    name,
    place,
    mount: () => mount,
    signal: (signal) => mount.program.signal(signal),
    settled: async () => {},
    restart: async (pauseMs) => {
      await mount.kill();
      await pause(pauseMs);
      mount = await mountInTheEnd(cluster, name, place);
    },
  };
}

/** A mount needs the metadata server, which may be cut off just now. */
async function mountInTheEnd(cluster: Cluster, name: string, place: Place): Promise<Mount> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await cluster.mount(name, [], place);
    } catch (error) {
      if (attempt === 10) throw error;
      await pause(1_000);
    }
  }
}

function serverVictim(cluster: Cluster, index: number, place: Place): Victim {
  return {
    name: `server ${index + 1}`,
    place,
    signal: (signal) => cluster.servers[index]!.signal(signal),
    settled: () => cluster.waitInSync(),
    ...(index > 0 && {
      flip: () => flipBytes(cluster, index),
      fill: (forMs: number) => fillDisk(cluster.data(index), forMs),
    }),
    restart: async (pauseMs) => {
      await cluster.killServer(index);
      await pause(pauseMs);
      await cluster.startServer(index);
    },
  };
}

/** All that the file system has left, to the last block. */
async function fillDisk(directory: string, forMs: number): Promise<void> {
  const filler = join(directory, "..", "filler");
  await shell(`
    fallocate -l $(($(stat -f -c '%a * %S' ${directory}/..))) ${filler} 2>/dev/null || dd if=/dev/zero of=${filler} bs=1M status=none || true`);
  await pause(forMs);
  await shell(`rm -f ${filler}`);
}

/** A file system of its own for a store, in a file beside it. */
async function mountDisk(context: TestContext, path: string): Promise<void> {
  const disk = join(path, "..");
  await shell(
    `truncate -s ${diskBytes} ${disk}.img && mkfs.ext4 -q ${disk}.img && mkdir ${disk} && mount -o loop ${disk}.img ${disk}`,
  );
  undo(context, () => shell(`umount -l ${disk}`));
}

/** In up to eight blocks that are not empty. */
async function flipBytes(cluster: Cluster, index: number): Promise<void> {
  const segments = globSync("store/segments/*.segment", { cwd: cluster.data(index) });
  const block = Buffer.alloc(4096);
  for (const name of segments) {
    const file = openSync(join(cluster.data(index), name), "r+");
    const blocks: number[] = [];
    for (let at = 4096; readSync(file, block, 0, 4096, at) === 4096 && block.some((byte) => byte !== 0); at += 4096) {
      blocks.push(at);
    }
    // The newest may be half written: what is torn there is a matter of the loss of power.
    const old = blocks.slice(0, blocks.length >> 1);
    for (let count = 0; count < 8 && old.length > 0; count++) {
      const at = old[below(old.length)]! + below(4096);
      readSync(file, block, 0, 1, at);
      writeSync(file, Buffer.from([block[0]! ^ 0x10]), 0, 1, at);
    }
    closeSync(file);
  }
  const scrub = await runProgram(brine, ["scrub", cluster.addresses[0]!, "--watch"]);
  assert.equal(scrub.code, 0, scrub.stdout + scrub.stderr);
  const isRepaired = async () => (await cluster.status()).badRanges.length === 0;
  await waitFor("all that was bad to be repaired", isRepaired, 30_000);
}

async function check(directory: string, journals: string): Promise<string> {
  const output = await runProgram("python3", [worker, "check", directory, journals]);
  return output.stdout + output.stderr;
}

function judgeWorkers(context: TestContext, outputs: readonly Output[]): void {
  for (const { stdout, stderr } of outputs) {
    const lines = stdout.trim().split("\n");
    const [, operations, errors] = /^done (\d+) (\d+)$/.exec(lines.pop() ?? "") ?? [];
    context.diagnostic(`a worker did ${operations} operations and met ${errors} errors`);
    assert.equal(stderr, "");
    assert.deepEqual(lines, [], "what a worker saw");
  }
}

test("what was fsynced survives stops, kills and cuts", { skip: whyNoNetwork() ?? false }, async (context) => {
  const network = await TestNetwork.start(context);
  const places: Place[] = [];
  for (let count = 0; count < 6; count++) places.push(await network.place(context));
  const directory = scratch(context);
  const cluster = await Cluster.start(context, {
    directory,
    servers: 3,
    metadataAlone: true,
    places: places.slice(0, 3),
    dataOf: (index) => join(directory, `disk-${index}`, "server"),
    prepare: async (index, path) => {
      if (index === 0) mkdirSync(join(path, ".."));
      else await mountDisk(context, path);
    },
  });
  const clients = [
    await clientVictim(cluster, "one", places[3]!),
    await clientVictim(cluster, "two", places[4]!),
  ] as const;
  const journals = join(cluster.directory, "journals");
  mkdirSync(journals);
  const points = clients.map((one) => one.mount().point);
  mkdirSync(join(points[0]!, "work"));
  const workers = [0, 1, 0, 1].map((side, number) =>
    startPython(context, [worker, "work", join(points[side]!, "work"), journals, `w${number}`, String(below(1e9))]),
  );

  const quiet = await cluster.mount("quiet", [], places[5]!);
  mkdirSync(join(quiet.point, "quiet"));
  const archive = await sourceArchive(context, false);

  const chaos = new Chaos(network);
  const untilMs = performance.now() + seconds * 1_000;
  const servers = places.slice(0, 3).map((place, index) => serverVictim(cluster, index, place));
  const lost = {
    message: ofLostSession,
    count: () => quiet.program.log().split("session lost: ").length - 1,
  };
  const working = bystanders(join(quiet.point, "quiet"), archive, untilMs, full ? lost : undefined);
  const strikes = [chaos.strike(clients, untilMs), chaos.strike(servers, untilMs)];
  try {
    await Promise.all([...strikes, working]);
    for (const [what, { whole, outOfSpace }] of Object.entries(await working)) {
      context.diagnostic(`${what}: ${whole} rounds, ${outOfSpace} more ended for want of space`);
    }
    await quiet.unmount();
    for (const one of workers) one.child.stdin!.end("stop\n");
    const hangs = setTimeout(() => {
      context.diagnostic("a worker hangs: it is killed");
      for (const one of workers) one.child.kill("SIGKILL");
    }, 60_000);
    const outputs = await Promise.all(workers.map((one) => one.ended));
    clearTimeout(hangs);
    judgeWorkers(context, outputs);
    await judgeEnd(context, cluster, clients, journals);
  } catch (error) {
    for (const event of chaos.events) context.diagnostic(event);
    // What would still be mounted or started when all is taken away would be left behind, and the runner waits for it.
    chaos.stop();
    await Promise.allSettled(strikes);
    throw error;
  }
  const count = (fault: string) => chaos.events.filter((event) => event.includes(` ${fault} `)).length;
  context.diagnostic(
    `${chaos.events.length} faults; flipped bytes: ${count("flipped")}, full disks: ${count("filled")}`,
  );
});

/** Both mounts keep all promises and show the same, and so does a third one after both have gone. */
async function judgeEnd(
  context: TestContext,
  cluster: Cluster,
  clients: readonly { mount: () => Mount }[],
  journals: string,
): Promise<void> {
  const agent = new Agent(context, "judge");
  const views: unknown[] = [];
  for (const client of clients) {
    const directory = join(client.mount().point, "work");
    assert.equal(await check(directory, journals), "");
    views.push(await agent.do("readThrough", directory));
  }
  assert.deepEqual(views[1], views[0], "both mounts show the same");
  for (const client of clients) await client.mount().unmount();
  const third = await cluster.mount("third");
  assert.equal(await check(join(third.point, "work"), journals), "");
  assert.deepEqual(await agent.do("readThrough", join(third.point, "work")), views[0], "so does a third one");
}
