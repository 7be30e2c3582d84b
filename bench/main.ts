/**
 * `npm run bench`: the figures of docs/measured.md. Starts a cluster of two servers on a memory disk (or --data DIR),
 * mounts it, and works on the mount from processes of its own. `npm run bench -- untar-small rename` measures these two.
 * Every figure is measured several times and the median printed, beside the same work on a local directory and what the
 * figure must reach. Absolute figures move with the machine.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { costOfLast, givenPlace, localPlace, type Place, startBrine } from "./mount/environment.ts";
import { type Figure, figures } from "./mount/figures.ts";
import { startPassThrough } from "./mount/pass-through.ts";

interface BenchOptions {
  readonly data: string;
  readonly disk: string;
  readonly runs: string;
  readonly local: boolean;
  readonly copies: boolean;
  readonly on?: string;
  readonly floor: boolean;
}

const program = new Command("bench")
  .description("Measure brinefs on this machine.")
  .argument("[figures...]", `some of: ${figures.map((one) => one.name).join(", ")}`)
  .option(
    "--data <directory>",
    "parent of the servers' data, and the local directory that is measured beside",
    "/dev/shm",
  )
  .option("--disk <directory>", "on a local disk, for what is compared with one", "/var/tmp")
  .option("--runs <count>", "measure each so many times", "3")
  .option("--no-local", "leave out the local directory")
  .option("--copies", "the second server keeps a copy of the ledger, too", false)
  .option("--on <directory>", "measure what is mounted here instead of brinefs")
  .option("--floor", "measure beside it what FUSE costs with a C program that passes all on to a memory disk", false)
  .parse();
const options = program.opts<BenchOptions>();

const undo: (() => void | Promise<void>)[] = [];
const context = { after: (one: () => void | Promise<void>) => void undo.push(one) };

function chosenFigures(): readonly Figure[] {
  const unknown = program.args.find((name) => !figures.some((one) => one.name === name));
  if (unknown !== undefined) throw new Error(`no figure is named ${unknown}`);
  return program.args.length === 0 ? figures : figures.filter((one) => program.args.includes(one.name));
}

function shown(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : 2);
}

async function measured(figure: Figure, place: Place): Promise<string> {
  const values: { value: number; note: string }[] = [];
  try {
    for (let count = 0; count < Number(options.runs); count++) {
      const { value, note } = await figure.measure(place);
      values.push({ value, note: [note, costOfLast()].filter(Boolean).join("; ") });
    }
  } catch (error) {
    return `failed: ${error instanceof Error ? error.message.slice(0, 300) : error}`;
  }
  values.sort((a, b) => a.value - b.value);
  const median = values[Math.floor(values.length / 2)]!;
  const range = values.length > 1 ? ` (${shown(values[0]!.value)}–${shown(values.at(-1)!.value)})` : "";
  return `${shown(median.value)} ${figure.unit}${range}${median.note === "" ? "" : ` [${median.note}]`}`;
}

/** Other file systems have no leases to hand over, and no memory that we can count. */
function isForOthers({ local, name }: Figure): boolean {
  return local !== "none" || /cold|^read$/.test(name);
}

function targetOf({ target, unit }: Figure): string {
  if (target === undefined) return "";
  const least = unit === "/s" || unit === "MB/s";
  return `${least ? "≥" : "≤"} ${target.toLocaleString("en")} ${unit}`;
}

async function measureAll(scratch: string): Promise<void> {
  const chosen = chosenFigures();
  const place =
    options.on === undefined ? await startBrine(context, scratch, options.copies) : givenPlace(options.on, options.on);
  const floor = options.floor ? await startPassThrough(context, scratch) : undefined;
  const memory = localPlace(options.data, join(scratch, "local"));
  const diskDirectory = mkdtempSync(join(options.disk, "brine-bench-"));
  undo.push(() => rmSync(diskDirectory, { recursive: true, force: true }));
  const disk = localPlace(options.disk, join(diskDirectory, "local"));
  const heads = ["figure", "work", place.label, ...(floor === undefined ? [] : [floor.label]), "to reach", "local"];
  console.log(`| ${heads.join(" | ")} |\n${"|---".repeat(heads.length)}|`);
  for (const figure of chosen) {
    if (options.on !== undefined && !isForOthers(figure)) continue;
    const results = [await measured(figure, place)];
    if (floor !== undefined) results.push(isForOthers(figure) ? await measured(figure, floor) : "");
    const local = figure.local === "disk" ? disk : memory;
    const beside = options.local && figure.local !== "none" ? `${await measured(figure, local)} on ${local.label}` : "";
    console.log(`| ${[figure.name, figure.what, ...results, targetOf(figure), beside].join(" | ")} |`);
  }
}

const scratch = mkdtempSync(join(options.data, "brine-bench-"));
undo.push(() => rmSync(scratch, { recursive: true, force: true }));
try {
  const memory = Math.round(totalmem() / 1024 ** 3);
  console.log(
    `${cpus().length} × ${cpus()[0]?.model.trim()}, ${memory} GiB, Linux ${release()}, Node ${process.version}, data in ${options.data}, load ${loadavg()[0]!.toFixed(1)}\n`,
  );
  await measureAll(scratch);
} finally {
  for (const one of undo.reverse()) await one();
}
