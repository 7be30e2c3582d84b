/**
 * The mixture that shows stale answers: one mount changes something, and after its call has returned the other must show
 * the new state in every way there is to look (by path, by a descriptor that is open since before, through mapped memory
 * that has been read before, in listings). Before each change the other mount looks at what is about to change, so that
 * whatever it may cache is cached. The roles of the two mounts change at random; a small model says what must be seen.
 */
import { strict as assert } from "node:assert";
import { Agent, type Answer, type Attributes, type Call } from "./agent.ts";
import { type Context, undo } from "./cluster.ts";

/** xorshift32: a run is repeated by its seed. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  text(length: number): string {
    const tag = `${this.below(1 << 30)}-`;
    return tag.repeat(Math.ceil(length / tag.length)).slice(0, length);
  }
}

export const kinds = ["data", "size", "append", "names", "attributes", "xattrs", "mapped"] as const;
export type Kind = (typeof kinds)[number];

const fileBytesMax = 40_000;
const mappedBytes = 16_384;
const names = ["a", "b", "c"] as const;

/** One of the two mounts, with what its agent holds open there. */
interface Side {
  readonly agent: Agent;
  readonly path: (name: string) => string;
  file: number;
  mapped: number;
  map: number;
}

export interface Report {
  readonly rounds: Record<Kind, number>;
  /** The longest that any call took. */
  readonly slowestSeconds: number;
  readonly slowest: string;
}

export class CoherencyRun {
  readonly #random: Random;
  readonly #seed: number;
  readonly #sides: [Side, Side];
  readonly #kinds: readonly Kind[];
  readonly #rounds: Record<Kind, number> = Object.fromEntries(kinds.map((one) => [one, 0])) as Record<Kind, number>;
  readonly #steps: Record<Kind, (writer: Side, reader: Side) => Promise<void>> = {
    data: (writer, reader) => this.#dataStep(writer, reader),
    size: (writer, reader) => this.#sizeStep(writer, reader),
    append: (writer, reader) => this.#appendStep(writer, reader),
    names: (writer, reader) => this.#namesStep(writer, reader),
    attributes: (writer, reader) => this.#attributesStep(writer, reader),
    xattrs: (writer, reader) => this.#xattrsStep(writer, reader),
    mapped: (writer, reader) => this.#mappedStep(writer, reader),
  };
  #round = 0;
  #story = "";
  #slowestSeconds = 0;
  #slowest = "";
  #content = "";
  #mappedContent = "\0".repeat(mappedBytes);
  #attributes = { mode: 0o644, mtimeNs: "0", links: 1, uid: 0, gid: 0 };
  #lastChangeNs = 0n;
  readonly #xattrs = new Map<string, string>();
  /** Names in the directory that both change, with the inode that each must have. */
  readonly #names = new Map<string, { inode: number; type: string; target?: string }>();

  private constructor(seed: number, sides: [Side, Side], chosen: readonly Kind[]) {
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#sides = sides;
    this.#kinds = chosen;
  }

  static async start(
    context: Context,
    points: readonly [string, string],
    options: { seed: number; kinds?: readonly Kind[] },
  ): Promise<CoherencyRun> {
    const sides = points.map((point, index) => ({
      agent: new Agent(context, `mount ${index + 1}`),
      path: (name: string) => `${point}/${name}`,
      file: -1,
      mapped: -1,
      map: -1,
    })) as [Side, Side];
    const chosen = options.kinds ?? kinds;
    const first = sides[0];
    await first.agent.do("mkdir", first.path("dir"));
    await first.agent.do("writeFile", first.path("meta"), "");
    await first.agent.do("utime", first.path("meta"), "0", "0");
    for (const side of sides) {
      side.file = await side.agent.do("open", side.path("file"));
      if (!chosen.includes("mapped")) continue;
      side.mapped = await side.agent.do("open", side.path("mapped"));
      await side.agent.do("ftruncate", side.mapped, mappedBytes);
      side.map = await side.agent.do("map", side.mapped, mappedBytes);
    }
    const run = new CoherencyRun(options.seed, sides, chosen);
    undo(context, async () => {
      for (const { agent } of sides) agent.child.kill("SIGKILL");
    });
    return run;
  }

  /** Runs so many rounds. Fails at the first answer that is not the newest, with all that is needed to repeat it. */
  async run(rounds: number): Promise<Report> {
    for (; this.#round < rounds; this.#round++) {
      const swapped = this.#random.below(4) === 0;
      const [writer, reader] = swapped ? [this.#sides[1], this.#sides[0]] : this.#sides;
      const kind = this.#random.pick(this.#kinds);
      this.#rounds[kind]++;
      this.#story = `seed ${this.#seed}, round ${this.#round}, ${kind}, writer ${writer.agent.name}`;
      await this.#steps[kind](writer, reader);
    }
    return { rounds: this.#rounds, slowestSeconds: this.#slowestSeconds, slowest: this.#slowest };
  }

  #note(call: Call, answer: Answer): void {
    if (answer.seconds <= this.#slowestSeconds) return;
    this.#slowestSeconds = answer.seconds;
    this.#slowest = `${call[0]} in ${this.#story}`;
  }

  async #change(side: Side, ...call: Call): Promise<unknown> {
    this.#story += `, ${JSON.stringify(call).slice(0, 120)}`;
    const answer = await side.agent.try(...call);
    this.#note(call, answer);
    assert.equal(answer.error, undefined, this.#story);
    return answer.value;
  }

  /** Looks with several calls; the answers in their order, errors as `!ENOENT`. */
  async #look(side: Side, ...calls: Call[]): Promise<unknown[]> {
    const answers = await side.agent.all(calls);
    for (const [index, answer] of answers.entries()) this.#note(calls[index]!, answer);
    return answers.map((one) => (one.error === undefined ? one.value : `!${one.error}`));
  }

  #same(seen: unknown, expected: unknown, how: string): void {
    if (typeof seen === "string" && typeof expected === "string" && seen !== expected) {
      let at = 0;
      while (at < seen.length && seen[at] === expected[at]) at++;
      const shown = (text: string) => `${text.length} bytes, at ${at}: ${JSON.stringify(text.slice(at, at + 40))}`;
      assert.fail(`${how} is stale: ${shown(seen)} instead of ${shown(expected)} (${this.#story})`);
    }
    assert.deepEqual(seen, expected, `${how} is stale (${this.#story})`);
  }

  async #dataStep(writer: Side, reader: Side): Promise<void> {
    const offset = this.#random.below(Math.min(this.#content.length + 5_000, fileBytesMax));
    const text = this.#random.text(1 + this.#random.below(this.#random.pick([10, 5_000, 12_000])));
    await this.#look(reader, ["pread", reader.file, text.length, offset], ["readFile", reader.path("file")]);
    await this.#change(writer, "pwrite", writer.file, text, offset);
    const before = this.#content.padEnd(offset, "\0");
    this.#content = before.slice(0, offset) + text + before.slice(offset + text.length);
    const [piece, whole, status] = await this.#look(
      reader,
      ["pread", reader.file, text.length, offset],
      ["readFile", reader.path("file")],
      ["fstat", reader.file],
    );
    this.#same(piece, text, "pread through an open descriptor");
    this.#same(whole, this.#content, "the file read by name");
    this.#same((status as Attributes).size, this.#content.length, "fstat's size after a write");
  }

  async #sizeStep(writer: Side, reader: Side): Promise<void> {
    const size = this.#random.below(fileBytesMax);
    await this.#look(reader, ["fstat", reader.file], ["stat", reader.path("file")]);
    if (this.#random.below(2) === 0) await this.#change(writer, "ftruncate", writer.file, size);
    else await this.#change(writer, "truncate", writer.path("file"), size);
    this.#content = this.#content.slice(0, size).padEnd(size, "\0");
    const [open, named, end, whole] = await this.#look(
      reader,
      ["fstat", reader.file],
      ["stat", reader.path("file")],
      ["seekEnd", reader.file],
      ["readAll", reader.file],
    );
    this.#same((open as Attributes).size, size, "fstat's size");
    this.#same((named as Attributes).size, size, "stat's size");
    this.#same(end, size, "the end of the file");
    this.#same(whole, this.#content, "the truncated file");
  }

  /** O_APPEND: the end of the file that the other mount has just moved. */
  async #appendStep(writer: Side, reader: Side): Promise<void> {
    const text = this.#random.text(1 + this.#random.below(300));
    await this.#look(reader, ["fstat", reader.file]);
    const append = 0o2001; // O_APPEND | O_WRONLY
    const descriptor = await this.#change(writer, "open", writer.path("file"), append);
    await this.#change(writer, "write", descriptor, text);
    await this.#change(writer, "close", descriptor);
    this.#content += text;
    const [status, whole] = await this.#look(reader, ["stat", reader.path("file")], ["readAll", reader.file]);
    this.#same((status as Attributes).size, this.#content.length, "the size after an append");
    this.#same(whole, this.#content, "the file after an append");
    if (this.#content.length > fileBytesMax) {
      await this.#change(reader, "ftruncate", reader.file, 0);
      this.#content = "";
    }
  }

  async #namesStep(writer: Side, reader: Side): Promise<void> {
    const directory = (side: Side, name: string) => side.path(`dir/${name}`);
    const looks: Call[] = [
      ...names.map((name): Call => ["lstat", directory(reader, name)]),
      ["list", reader.path("dir")],
    ];
    await this.#look(reader, ...looks);
    await this.#changeNames(writer, (name) => directory(writer, name));
    const seen = await this.#look(reader, ...looks);
    for (const [index, name] of names.entries()) {
      const expected = this.#names.get(name);
      const found = seen[index];
      if (expected === undefined) this.#same(found, "!ENOENT", `"${name}", which is gone,`);
      else if (typeof found === "string") this.#same(found, "there", `"${name}"`);
      else this.#same((found as Attributes).inode, expected.inode, `"${name}"'s inode`);
      if (expected?.target === undefined) continue;
      const [target] = await this.#look(reader, ["readlink", directory(reader, name)]);
      this.#same(target, expected.target, `the target of "${name}"`);
    }
    this.#same(seen.at(-1), [...this.#names.keys()].sort(), "the listing");
  }

  async #changeNames(side: Side, path: (name: string) => string): Promise<void> {
    const name = this.#random.pick(names);
    const known = this.#names.get(name);
    if (known === undefined) {
      const type = this.#random.pick(["file", "file", "directory", "symlink"]);
      const target = this.#random.text(20);
      if (type === "file") await this.#change(side, "create", path(name));
      else if (type === "directory") await this.#change(side, "mkdir", path(name));
      else await this.#change(side, "symlink", target, path(name));
      const { inode } = await side.agent.do("lstat", path(name));
      this.#names.set(name, type === "symlink" ? { inode, type, target } : { inode, type });
      return;
    }
    const other = this.#random.pick(names);
    const over = this.#names.get(other);
    const fits = over === undefined || (known.type === "directory") === (over.type === "directory");
    if (other !== name && fits && this.#random.below(3) > 0) {
      await this.#change(side, "rename", path(name), path(other));
      this.#names.delete(name);
      this.#names.set(other, known);
      return;
    }
    await this.#change(side, known.type === "directory" ? "rmdir" : "unlink", path(name));
    this.#names.delete(name);
  }

  async #attributesStep(writer: Side, reader: Side): Promise<void> {
    const [path, extra] = [writer.path("meta"), writer.path("meta2")];
    await this.#look(reader, ["stat", reader.path("meta")]);
    switch (this.#random.below(4)) {
      case 0:
        this.#attributes.mode = 0o600 + this.#random.below(64);
        await this.#change(writer, "chmod", path, this.#attributes.mode);
        break;
      case 1:
        this.#attributes.mtimeNs = String(1_000_000_000n * BigInt(this.#random.below(1 << 30)) + 123_456_789n);
        await this.#change(writer, "utime", path, "5000000000", this.#attributes.mtimeNs);
        break;
      case 2:
        this.#attributes.uid = this.#random.below(1000);
        this.#attributes.gid = this.#random.below(1000);
        await this.#change(writer, "chown", path, this.#attributes.uid, this.#attributes.gid);
        break;
      default:
        if (this.#attributes.links === 1) await this.#change(writer, "link", path, extra);
        else await this.#change(writer, "unlink", extra);
        this.#attributes.links = 3 - this.#attributes.links;
    }
    const [seen] = (await this.#look(reader, ["stat", reader.path("meta")])) as [Attributes];
    const { mode, mtimeNs, links, uid, gid } = seen;
    this.#same({ mode: mode & 0o7777, mtimeNs, links, uid, gid }, this.#attributes, "stat");
    const changedNs = BigInt(seen.ctimeNs);
    assert.ok(
      changedNs > this.#lastChangeNs,
      `ctime goes on: ${changedNs} after ${this.#lastChangeNs} (${this.#story})`,
    );
    this.#lastChangeNs = changedNs;
  }

  async #xattrsStep(writer: Side, reader: Side): Promise<void> {
    const name = `user.${this.#random.pick(names)}`;
    const looks: Call[] = [
      ["getxattr", reader.path("meta"), name],
      ["listxattr", reader.path("meta")],
    ];
    await this.#look(reader, ...looks);
    if (this.#xattrs.has(name) && this.#random.below(2) === 0) {
      await this.#change(writer, "removexattr", writer.path("meta"), name);
      this.#xattrs.delete(name);
    } else {
      const value = this.#random.text(1 + this.#random.below(200));
      await this.#change(writer, "setxattr", writer.path("meta"), name, value);
      this.#xattrs.set(name, value);
    }
    this.#lastChangeNs = 0n; // setxattr changes ctime, too; the next look at the attributes starts anew
    const [value, list] = await this.#look(reader, ...looks);
    this.#same(value, this.#xattrs.get(name) ?? "!ENODATA", `the attribute ${name}`);
    this.#same(list, [...this.#xattrs.keys()].sort(), "the list of attributes");
  }

  /** Memory of one mount against memory and calls of the other. */
  async #mappedStep(writer: Side, reader: Side): Promise<void> {
    const text = this.#random.text(1 + this.#random.below(6_000));
    const offset = this.#random.below(mappedBytes - text.length);
    await this.#look(reader, ["mapRead", reader.map, 0, mappedBytes]);
    if (this.#random.below(2) === 0) await this.#change(writer, "mapWrite", writer.map, offset, text);
    else await this.#change(writer, "pwrite", writer.mapped, text, offset);
    this.#mappedContent = this.#mappedContent.slice(0, offset) + text + this.#mappedContent.slice(offset + text.length);
    const [memory, read, own] = [
      ...(await this.#look(reader, ["mapRead", reader.map, 0, mappedBytes], ["pread", reader.mapped, mappedBytes, 0])),
      ...(await this.#look(writer, ["mapRead", writer.map, 0, mappedBytes])),
    ];
    this.#same(memory, this.#mappedContent, "mapped memory");
    this.#same(read, this.#mappedContent, "a mapped file, read");
    this.#same(own, this.#mappedContent, "the writer's own mapped memory");
  }
}
