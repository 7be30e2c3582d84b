/** Applications on mounts of the twin, some of which die; everything is checked as in a simulation of the real thing. */

import type { Clock } from "../../platform/clock.ts";
import { Application } from "../application.ts";
import { audit } from "../audit.ts";
import { HindsightChecker } from "../checkers/hindsight.ts";
import { Violation } from "../checkers/violation.ts";
import { Incarnation } from "../incarnation.ts";
import { SimulatedKernel } from "../kernel.ts";
import { Model } from "../model.ts";
import { owner } from "../model-operations.ts";
import { type Mount, MountDied, type MountPoint } from "../mount.ts";
import { Recorder } from "../recorder.ts";
import { Scheduler } from "../scheduler.ts";
import { Workload } from "../workload.ts";
import type { Kind, Weights } from "../workload-kinds.ts";
import { type TwinBug, TwinServer } from "./twin-server.ts";

const virtualUsMax = 200_000_000;
const deathIntervalUsMax = 400_000;
const noticeUsMax = 30_000;

class TwinMountPoint implements MountPoint {
  readonly #server: TwinServer;
  readonly #name: string;
  #boots = 0;
  #mount: Mount;
  #die: () => void = () => {};
  #incarnation: Incarnation | undefined;

  constructor(server: TwinServer, name: string) {
    this.#server = server;
    this.#name = name;
    this.#mount = this.#boot();
  }

  async mount(): Promise<Mount> {
    return this.#mount;
  }

  get name(): string {
    return this.#mount.name;
  }

  /** Kills the process, and starts the next. */
  kill(): void {
    this.#server.died(this.#mount.name);
    this.#incarnation!.kill();
    const die = this.#die;
    this.#mount = this.#boot();
    die();
  }

  replace(): void {}

  #boot(): Mount {
    const { scheduler, random } = this.#server;
    this.#boots += 1;
    const incarnation = new Incarnation(scheduler, this.#name, this.#boots);
    this.#incarnation = incarnation;
    const death = Promise.withResolvers<never>();
    death.promise.catch(() => {});
    this.#die = () => death.reject(new MountDied(incarnation.name));
    const fileSystem = this.#server.mount(incarnation.name);
    const clock: Clock = {
      nowMs: () => scheduler.nowUs / 1_000,
      wallNs: () => BigInt(scheduler.nowUs) * 1_000n,
      startTimer: (delayMs, callback) => incarnation.after(delayMs * 1_000, "timer", callback),
    };
    const kernel = new SimulatedKernel(fileSystem, incarnation, clock, random.fork(`kernel ${incarnation.name}`));
    return { name: incarnation.name, kernel, root: fileSystem.root, death: death.promise };
  }
}

export interface TwinResult {
  readonly failure: Error | undefined;
  readonly history: readonly string[];
  readonly digest: string;
  readonly configurations: number;
  /** How often the bug had an occasion. */
  readonly struck: number;
}

export interface TwinOptions {
  readonly seed: number;
  readonly operations: number;
  readonly deaths: boolean;
  readonly bug?: TwinBug | undefined;
  readonly more?: readonly Kind[] | undefined;
  readonly only?: Weights | undefined;
}

export async function runTwin({ seed, operations, deaths, bug, more, only }: TwinOptions): Promise<TwinResult> {
  const scheduler = new Scheduler(seed);
  const random = scheduler.random.fork("twin");
  const server = new TwinServer(scheduler, random.fork("server"), bug);
  const checker = new HindsightChecker(Model.withRoot(server.root, 0o755, owner.uid, owner.gid));
  const recorder = new Recorder(scheduler, checker, () => "no");
  const points = ["one", "two"].map((name) => new TwinMountPoint(server, name));
  const enough = () => recorder.count >= operations;
  const character = random.below(1_000);
  const applications = points.flatMap((point, index) =>
    [1, 2].map((number) => {
      const lockOwner = 2 * index + number;
      const options = {
        largeChance: 0,
        character,
        lockOwner,
        abilities: { mapped: true, locks: true, extended: true },
        more,
        only,
      };
      const workload = new Workload(random.fork(`workload ${lockOwner}`), options);
      return new Application([point], { recorder, checker, workload, scheduler }, random.fork(`${lockOwner}`));
    }),
  );
  let failure: Error | undefined;
  const look = async (doubts: readonly number[]) => {
    const mount = await random.pick(points).mount();
    await audit(mount, recorder, checker, new Set(doubts));
  };
  const kill = () => {
    if (enough() || failure !== undefined) return;
    const victim = random.pick(points);
    const { name } = victim;
    const doubts = checker.unsyncedInodes(name);
    victim.kill();
    checker.clientDied(name);
    // The checker is told later: what others see until then has to be explained all the same.
    scheduler.schedule(random.below(noticeUsMax), "notice", () => {
      checker.sessionEnded(name);
      look(doubts).catch((error: Error) => {
        if (!(error instanceof MountDied)) failure = error;
      });
    });
    scheduler.schedule(random.below(deathIntervalUsMax), "death", kill);
  };
  if (deaths) scheduler.schedule(random.below(deathIntervalUsMax), "death", kill);
  let finished = false;
  const story = async () => {
    await Promise.all(applications.map((application) => application.work(enough)));
    for (const point of points) await audit(await point.mount(), recorder, checker);
  };
  story().then(
    () => {
      finished = true;
    },
    (error: Error) => {
      failure = error;
    },
  );
  const end = await scheduler.run(() => finished || failure !== undefined, { untilUs: virtualUsMax });
  if (end !== "finished") failure = new Violation("liveness", end);
  const { configurationsMost: configurations } = checker;
  return { failure, history: recorder.tail(), digest: scheduler.digest(), configurations, struck: server.struck };
}
