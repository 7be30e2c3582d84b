/**
 * `npm run simulate`: runs simulations and ends with a digest over all of them. A failure is printed with the end of its
 * history and the command that runs it again.
 */
import { createHash } from "node:crypto";
import { Command, InvalidArgumentError, Option } from "commander";
import { type LogLevel, logLevels } from "../platform/logger.ts";
import { type FaultKind, type FaultLevel, faultLevels } from "./fault-kinds.ts";
import { simulate } from "./simulation.ts";
import type { SimulationResult } from "./simulation-result.ts";
import { type Kind, kinds } from "./workload-kinds.ts";

const historyLines = 40;
const logLines = 120;

interface Options {
  readonly seed?: number;
  readonly seeds?: readonly [number, number];
  readonly operations: number;
  readonly faults: FaultLevel;
  readonly logLevel: LogLevel;
  readonly more?: readonly Kind[];
  readonly members: boolean;
  readonly rules: boolean;
  readonly quotas: boolean;
  readonly copies: boolean;
  readonly full: boolean;
  readonly fewLeases: boolean;
  readonly verbose: boolean;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("It is a whole number.");
  return Number(text);
}

function rangeOfNumbers(text: string): [number, number] {
  const match = /^(\d{1,9})\.\.(\d{1,9})$/.exec(text);
  if (match === null) throw new InvalidArgumentError("It has the form FIRST..LAST.");
  return [Number(match[1]), Number(match[2])];
}

function listOfKinds(text: string): Kind[] {
  const more = text.split(",") as Kind[];
  if (more.some((kind) => !kinds.includes(kind))) throw new InvalidArgumentError(`Known are: ${kinds.join(", ")}.`);
  return more;
}

const program = new Command("simulate")
  .description("Runs whole clusters in one process on virtual time, each from a seed, and checks all promises.")
  .option("--seed <number>", "the one seed to run", wholeNumber)
  .option("--seeds <first..last>", "a range of seeds", rangeOfNumbers)
  .option("--operations <count>", "file operations of each simulation", wholeNumber, 300)
  .addOption(new Option("--faults <level>", "what goes wrong").choices(faultLevels).default("all"))
  .addOption(new Option("--log-level <level>", "of the servers' and clients' logs").choices(logLevels).default("info"))
  .option("--more <kinds>", "what applications do most, as overwrite,read (default: as the seed says)", listOfKinds)
  .option("--members", "stores come and go for good, and the number of copies changes", false)
  .option("--rules", "placement rules and labels of stores change, and rules are applied to what is there", false)
  .option("--quotas", "quotas come, change and go", false)
  .option("--few-leases", "so few leases may be kept that some are given back all the time", false)
  .option("--full", "stores are so small that clients fill them", false)
  .addOption(
    new Option("--copies", "the ledger has two copies; leaders are lost, and their copies promoted")
      .default(false)
      .conflicts(["members", "rules", "full"]),
  )
  .option(
    "--verbose",
    "print all of the log and the history that is kept (the newest lines), also of what succeeds",
    false,
  )
  .addHelpText("after", "\nExample: npm run simulate -- --seeds 1..100 --faults some");

type FaultCounts = SimulationResult["faults"];

function sum(faults: FaultCounts): number {
  return [...faults.values()].reduce((total, count) => total + count, 0);
}

/** As `storeCrash 3, cutLink 1`: the most frequent first. */
function kindsOf(faults: ReadonlyMap<string, number>): string {
  const byCount = [...faults].sort(([, left], [, right]) => right - left);
  return byCount.map(([kind, count]) => `${kind} ${count}`).join(", ");
}

function describe({
  seed,
  operations,
  faults,
  events,
  virtualMs,
  configurations,
  leftBehind,
  digest,
}: SimulationResult): string {
  const seconds = (virtualMs / 1_000).toFixed(1);
  const left = leftBehind === 0 ? "" : `, ${leftBehind} chunks left behind`;
  return `seed ${seed}: ${operations} operations, ${sum(faults)} faults, ${events} events in ${seconds} s of virtual time, ${configurations} states at most${left}, ${digest}`;
}

function report({ failure, seed, history, log }: SimulationResult, options: Options): void {
  if (failure === undefined && !options.verbose) return;
  console.log(`\nlog:\n  ${log.slice(options.verbose ? 0 : -logLines).join("\n  ")}`);
  console.log(`\nhistory:\n  ${history.slice(options.verbose ? 0 : -historyLines).join("\n  ")}`);
  if (failure === undefined) return;
  const { error } = failure;
  console.log(`\nFAILED seed ${seed}: ${error.name === "Violation" ? error.message : error.stack}`);
  const { operations, faults, more } = options;
  const also = more === undefined ? "" : ` --more ${more.join(",")}`;
  console.log(
    `again: npm run simulate -- --seed ${seed} --operations ${operations} --faults ${faults}${also}${mode(options)}\n`,
  );
}

function mode({ members, rules, quotas, copies, full, fewLeases }: Options): string {
  return `${fewLeases ? " --few-leases" : ""}${quotas ? " --quotas" : ""}${members ? " --members" : ""}${rules ? " --rules" : ""}${copies ? " --copies" : ""}${full ? " --full" : ""}`;
}

async function main(): Promise<void> {
  const options = program.parse().opts<Options>();
  const [first, last] = options.seeds ?? [options.seed ?? 1, options.seed ?? 1];
  const digests = createHash("sha256");
  let current = first;
  // A promise that nobody waits for has failed: a defect of the code under test, whichever seed it belongs to.
  process.on("unhandledRejection", (error) => {
    console.log(`\nFAILED seed ${current}: unhandled rejection: ${(error as Error)?.stack ?? error}`);
    process.exit(1);
  });
  const seeds = { ok: 0, open: 0, FAILED: 0 };
  const faultsInAll = new Map<FaultKind, number>();
  const ledgerChanges = new Map<string, number>();
  const without = { some: 0, all: 0 };
  let cutByGuard = 0;
  const leasesKeptMost = { client: 0, leader: 0 };
  const failed: number[] = [];
  for (current = first; current <= last; current++) {
    const { operations, faults, logLevel, more, members, rules, quotas, copies, full, fewLeases } = options;
    const result = await simulate({
      seed: current,
      operations,
      faults,
      logLevel,
      members,
      rules,
      quotas,
      copies,
      full,
      fewLeases,
      ...(more && { more }),
    });
    const verdict = result.failure !== undefined ? "FAILED" : result.undecided ? "open" : "ok";
    seeds[verdict] += 1;
    console.log(`${verdict.padEnd(6)} ${describe(result)}`);
    if (options.verbose) console.log(`faults: ${kindsOf(result.faults) || "none"}`);
    if (result.withoutSpace.size > 0) without[result.withoutSpace.size === 1 ? "some" : "all"] += 1;
    cutByGuard += result.cutByGuard;
    for (const side of ["client", "leader"] as const) {
      leasesKeptMost[side] = Math.max(leasesKeptMost[side], result.leasesKeptMost[side]);
    }
    for (const [kind, count] of result.ledgerChanges) ledgerChanges.set(kind, (ledgerChanges.get(kind) ?? 0) + count);
    for (const [kind, count] of result.faults) faultsInAll.set(kind, (faultsInAll.get(kind) ?? 0) + count);
    report(result, options);
    digests.update(result.digest);
    if (result.failure !== undefined) failed.push(current);
  }
  console.log(`${seeds.ok} ok, ${seeds.open} open (too many possible states to go on), ${seeds.FAILED} failed`);
  console.log(`${sum(faultsInAll)} faults: ${kindsOf(faultsInAll) || "none"}`);
  if (options.full) console.log(`without space: both clients in ${without.all}, one of them in ${without.some}`);
  console.log(
    `leases at most: ${leasesKeptMost.client} kept by a client, ${leasesKeptMost.leader} not recalled from one`,
  );
  if (cutByGuard > 0) console.log(`cut off by their guards: ${cutByGuard} mounts`);
  if (ledgerChanges.size > 0) console.log(`ledger: ${kindsOf(ledgerChanges)}`);
  if (failed.length > 0) console.log(`${failed.length} failed: ${failed.join(" ")}`);
  console.log(`digest ${digests.digest("hex").slice(0, 16)}`);
  process.exit(failed.length > 0 ? 1 : 0);
}

await main();
