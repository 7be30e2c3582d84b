/** The applications of a simulation: how many, on which clients, and what they do. */
import { Application } from "./application.ts";
import type { HindsightChecker } from "./checkers/hindsight.ts";
import type { SimulatedCluster } from "./cluster.ts";
import type { Recorder } from "./recorder.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulationOptions } from "./simulation-result.ts";
import { Workload } from "./workload.ts";
import { abilities } from "./workload-kinds.ts";

/** Applications at one time, and operations under way: with more, the orders to try grow beyond bounds. */
const applicationsPerClientMax = 3;
const slowThinkUsMax = 3_000_000;
const fillingDisks = ["write", "append", "createFile", "copy"] as const;

export function makeApplications(
  options: SimulationOptions,
  { clients, world: { scheduler } }: SimulatedCluster,
  parts: { readonly recorder: Recorder; readonly checker: HindsightChecker },
  random: SimulatedRandom,
): Application[] {
  const largeChance = options.full ? 0.8 : random.pick([0, 0.01, 0.04, 0.2]);
  // A promotion takes seconds: applications must still be at work.
  const pace = options.copies ? { thinkUsMax: slowThinkUsMax } : {};
  const character = random.below(1_000);
  let lockOwner = 0;
  const make = (name: string, on: SimulatedCluster["clients"] = clients) => {
    const own = random.fork(name);
    lockOwner += 1;
    const workload = new Workload(own.fork("workload"), {
      // Of mapped memory that doesn't fit any later call may be told.
      ...{ largeChance, character, lockOwner, abilities: { ...abilities, mapped: !options.full } },
      more: options.more ?? (options.full ? fillingDisks : undefined),
      only: options.only,
    });
    return new Application(on, { ...parts, workload, scheduler, ...pace }, own);
  };
  // One at a time, the outcome of each is certain; many at once, the order is not. Both find things.
  if (random.chance(0.3)) return [make("only one")];
  const count = random.between(1, applicationsPerClientMax);
  return clients.flatMap((client) =>
    Array.from({ length: count }, (_, index) => make(`${client.name} ${index}`, [client])),
  );
}
