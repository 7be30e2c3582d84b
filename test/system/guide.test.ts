/**
 * The guide for three machines, as it stands in docs/operations.md: its files, its units and its commands, on machines that
 * are network namespaces, until the first of them is lost and replaced.
 */
import { strict as assert } from "node:assert";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { brine, type Context, Program, root, scratch, shell, undo, waitFor } from "./cluster.ts";
import { type Place, TestNetwork, whyNoNetwork } from "./test-network.ts";

const guide = readFileSync(join(root, "docs/operations.md"), "utf8");

/** Fenced blocks of a section of the guide, without their indentation. */
function blocks(title: string): string[] {
  const start = guide.indexOf(`\n## ${title}\n`);
  assert.ok(start >= 0, title);
  const section = guide.slice(start, guide.indexOf("\n## ", start + 4));
  return [...section.matchAll(/^( *)```\n(.*?)^ *```$/gms)].map(([, indent, text]) =>
    text!.replaceAll(new RegExp(`^${indent}`, "gm"), "").trim(),
  );
}

/** Machines of the guide: 10.0.0.1 is the first. */
class Machines {
  readonly #context: Context;
  readonly #directory: string;
  readonly #places: readonly Place[];
  cluster = "";

  constructor(context: Context, places: readonly Place[]) {
    this.#context = context;
    this.#directory = scratch(context);
    this.#places = places;
  }

  /** What the guide says, with the addresses that there are. */
  here(text: string): string {
    return text.replaceAll(/10\.0\.0\.(\d)/g, (_, number) => this.#places[Number(number) - 1]!.host);
  }

  /** A command of the guide, as it stands there. */
  run(command: string): Promise<string> {
    const words = this.here(command).replace(/^brine /, `${brine} `);
    return shell(`${this.cluster}\n${words}`, { timeoutMs: 120_000 });
  }

  /** Starts a unit on a machine, as systemd would. */
  async start(machine: number, unit: string, configuration: string, paths: Record<string, string>): Promise<Program> {
    const settings = new Map(configuration.split("\n").map((line) => line.split(/=(.*)/s) as [string, string]));
    const text = readFileSync(join(root, "packaging/systemd", unit), "utf8");
    const words = /^ExecStart=\/usr\/local\/bin\/brine (.*)$/m
      .exec(text)![1]!
      .split(" ")
      .flatMap((word) => {
        const whole = word.replace(/^\$\{(\w+)\}$/, (_, name) => settings.get(name)!);
        if (word.startsWith("$") && whole === word) return settings.get(word.slice(1))!.split(" ").filter(Boolean);
        return [paths[whole] ?? whole];
      });
    const [enter, ...options] = this.#places[machine - 1]!.enter;
    const log = join(this.#directory, `machine-${machine}-${unit}.log`);
    return new Program(this.#context, enter!, [...options, brine, ...words.map((word) => this.here(word))], log);
  }

  server(machine: number, configuration: string): Promise<Program> {
    const paths = { "/srv/brine": join(this.#directory, `disk-${machine}`) };
    return this.start(machine, "brine-server.service", configuration, paths);
  }

  async mount(machine: number, configuration: string): Promise<string> {
    const point = join(this.#directory, `mnt-${machine}`);
    await mkdir(point);
    undo(this.#context, () => shell(`! mountpoint -q ${point} || umount -l ${point}`));
    await this.start(machine, "brine-mount@.service", configuration, { "%f": point });
    await waitFor("the mount", () =>
      shell(`mountpoint -q ${point}`).then(
        () => true,
        () => false,
      ),
    );
    return point;
  }

  waitForStatus(text: string): Promise<void> {
    return waitFor(text, () =>
      this.run("brine status").then(
        (status) => status.includes(this.here(text)),
        () => false,
      ),
    );
  }
}

test("the guide for three machines, and for the loss of the first", {
  skip: whyNoNetwork() ?? false,
}, async (context) => {
  const network = await TestNetwork.start(context);
  const places: Place[] = [];
  for (let count = 0; count < 5; count++) places.push(await network.place(context));
  const machines = new Machines(context, places);
  const setup = blocks("Three machines");
  const servers = setup.filter((block) => block.startsWith("BRINE_LISTEN="));
  assert.equal(servers.length, 3);
  machines.cluster = machines.here(setup.find((block) => block.startsWith("export BRINE_CLUSTER="))!);

  const first = await machines.server(1, servers[0]!);
  await machines.waitForStatus("10.0.0.1:7411");
  for (const number of [2, 3]) await machines.server(number, servers[number - 1]!);
  const [, healthy] = /`(metadata: two copies,.*)`/.exec(guide)!;
  await machines.waitForStatus(healthy!);
  await machines.run(/`(brine volume create .*?)`/.exec(guide)![1]!);
  const point = await machines.mount(5, setup.find((block) => block.startsWith("BRINE_SOURCE="))!);
  writeFileSync(join(point, "before"), "before", { flush: true });
  const [backup] = blocks("Backups of the metadata");
  await machines.run(backup!.replace("/backup", scratch(context)));

  await first.stop("SIGKILL");
  const [promote, forget] = blocks("When the machine with the metadata is lost");
  await machines.run(promote!);
  assert.equal(readFileSync(join(point, "before"), "utf8"), "before");
  writeFileSync(join(point, "after"), "after", { flush: true });
  await machines.run(forget!);
  const [, options] = /a new server joins as the copy \(`(.*?)`/.exec(guide)!;
  await machines.server(4, `BRINE_LISTEN=10.0.0.4:7411\nBRINE_OPTIONS=--insecure ${options}`);
  await machines.waitForStatus("metadata: two copies, the second at 10.0.0.4:7411");
  assert.equal(readFileSync(join(point, "after"), "utf8"), "after");
});
