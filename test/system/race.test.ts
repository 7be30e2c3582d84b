/**
 * Readers on one mount never stop looking while the other mount changes what they look at, as fast as it can: answers are
 * under way to the kernel while its caches are being invalidated. What a look that began after a change had returned
 * shows must be that change or a later one.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { Agent, type Call } from "./agent.ts";
import { Cluster, full, waitFor, whyNoMount } from "./cluster.ts";
import { type Observation, watch } from "./watcher.ts";

const files = 2;
const ways = ["path", "handle", "map", "names"];

/** When the last call that made a version had returned: for each kind of look, versions in order. */
type Returned = Map<string, number[]>;

class Writer {
  readonly returned: Returned = new Map();
  readonly #agent: Agent;
  readonly #point: string;
  readonly #handles: number[] = [];

  constructor(agent: Agent, point: string) {
    this.#agent = agent;
    this.#point = point;
  }

  /** Version 0 of everything. */
  async prepare(): Promise<void> {
    await this.#agent.do("mkdir", `${this.#point}/renamed`);
    await this.#agent.do("create", `${this.#point}/renamed/0`);
    for (let number = 0; number < files; number++) {
      this.#handles.push(await this.#agent.do("open", `${this.#point}/watched${number}`));
    }
    await this.write(0);
  }

  async write(version: number): Promise<void> {
    const content = String(version).padStart(16, "0").repeat(6);
    const at = (name: string) => `${this.#point}/${name}`;
    const steps: [kind: string, ...calls: Call[]][] = this.#handles.map((handle, number) => [
      `file ${number}`,
      ["pwrite", handle, content, 0],
      ["ftruncate", handle, 100 + version],
    ]);
    if (version > 0) steps.push(["list", ["rename", at(`renamed/${version - 1}`), at(`renamed/${version}`)]]);
    steps.push([
      "replaced",
      ["writeFile", at("fresh"), "x".repeat(100 + version)],
      ["rename", at("fresh"), at("replaced")],
    ]);
    steps.push(["link", ["symlink", String(version), at("freshLink")], ["rename", at("freshLink"), at("link")]]);
    const answers = await this.#agent.all(steps.flatMap(([, ...calls]) => calls));
    let index = 0;
    for (const [kind, ...calls] of steps) {
      index += calls.length;
      for (const answer of answers.slice(index - calls.length, index)) assert.equal(answer.error, undefined, kind);
      const times = this.returned.get(kind) ?? [];
      times[version] = answers[index - 1]!.endSeconds;
      this.returned.set(kind, times);
    }
  }
}

/** The newest version that had returned when a look began. */
function versionAt(times: readonly number[], seconds: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) < seconds) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function judge(observations: readonly Observation[], returned: Returned): void {
  for (const { startSeconds, file, what, seen } of observations) {
    const times = returned.get(what) ?? returned.get(`file ${file}`)!;
    const least = versionAt(times, startSeconds);
    assert.ok(typeof seen === "number", `${what} of ${file} fails with ${seen}`);
    if (seen >= least) continue;
    const lateMs = (startSeconds - times[seen + 1]!) * 1_000;
    assert.fail(`${what} of ${file} shows version ${seen}, ${lateMs.toFixed(2)} ms after ${seen + 1} had returned`);
  }
}

for (const kernel of ["this kernel", "6.1"]) {
  test(`readers that never stop see nothing old (${kernel})`, { skip: whyNoMount() ?? false }, async (context) => {
    const cluster = await Cluster.start(context);
    const options = kernel === "6.1" ? ["-o", "as-kernel=6.1"] : [];
    const [one, two] = [await cluster.mount("one", options), await cluster.mount("two", options)];
    const writer = new Writer(new Agent(context, "writer"), one.point);
    await writer.prepare();
    const watches = ways
      .filter((way) => kernel !== "6.1" || way !== "map")
      .map((way) => watch(context, way, two.point, files));
    await waitFor("the readers", () => watches.every((one) => one.observations.length > 0));
    const endMs = performance.now() + (full ? 120_000 : 4_000);
    let version = 1;
    for (; performance.now() < endMs; version++) await writer.write(version);
    for (const one of watches) {
      assert.equal(one.defect(), "", "what a reader says of itself");
      judge(one.observations, writer.returned);
    }
    const looks = watches.map((one) => one.observations.length).join(", ");
    context.diagnostic(`${version} versions; looks by ${ways.join(", ")}: ${looks}`);
  });
}
