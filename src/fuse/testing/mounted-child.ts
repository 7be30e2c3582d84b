/** Starts mount-memory.ts as a child on a directory of its own, and sees to it that nothing is left of it. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "./controlled-file-system.ts";

const program = fileURLToPath(new URL("mount-memory.ts", import.meta.url));

export class MountedChild {
  readonly directory: string;
  readonly #child: ChildProcess;
  #output = "";
  #exited = false;
  readonly #exit: Promise<void>;
  readonly #asked = new Map<number, (answer: Record<string, unknown>) => void>();
  #nextId = 1;
  #begun = "";

  private constructor(directory: string, words: readonly string[]) {
    this.directory = directory;
    this.#child = spawn(process.execPath, [program, directory, ...words], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin!.on("error", () => {}); // it has ended: `ask` says so
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => this.#take(text));
    this.#exit = new Promise((resolve) => {
      this.#child.on("close", () => {
        this.#exited = true;
        resolve();
      });
    });
  }

  /** Resolves when it has said `mounted`, or has ended. */
  static async start(words: readonly string[] = [], directory = temporaryDirectory()): Promise<MountedChild> {
    const child = new MountedChild(directory, words);
    while (!child.#output.includes("\n") && !child.#exited) {
      await Promise.race([child.#exit, new Promise((done) => child.#child.stdout!.once("data", done))]);
    }
    return child;
  }

  /** What it has printed. */
  get output(): string {
    return this.#output;
  }

  /** Has it do something. */
  async ask(command: Command): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const answered = new Promise<Record<string, unknown>>((resolve) => this.#asked.set(id, resolve));
    this.#child.stdin!.write(`${JSON.stringify({ id, command })}\n`);
    const answer = await Promise.race([answered, this.#exit.then(() => ({ error: "it has ended" }))]);
    if (answer.error !== undefined) throw new Error(`${command.do}: ${answer.error}`);
    return answer;
  }

  /** Calls of the file system since the last time, by method. */
  async counts(): Promise<Record<string, number>> {
    return (await this.ask({ do: "counts" })).counts as Record<string, number>;
  }

  /** Resolves when this many calls of the method are held. */
  async untilHeld(method: string, count = 1): Promise<void> {
    for (;;) {
      const { held } = (await this.ask({ do: "counts" })) as { held: Record<string, number> };
      if ((held[method] ?? 0) >= count) return;
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  #take(text: string): void {
    const lines = (this.#begun + text).split("\n");
    this.#begun = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("{")) this.#answered(JSON.parse(line));
      else this.#output += `${line}\n`;
    }
  }

  #answered({ id, ...answer }: { id: number } & Record<string, unknown>): void {
    this.#asked.get(id)?.(answer);
    this.#asked.delete(id);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Resolves when the process has ended, by this signal if it has not yet. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<string> {
    if (!this.#exited) this.#child.kill(signal);
    await this.#exit;
    return this.#output;
  }

  /** Resolves when it has ended by itself. */
  ended(): Promise<void> {
    return this.#exit;
  }

  /** For `finally`: no process, no mount, no directory is left. */
  async clear(): Promise<void> {
    await this.end("SIGKILL");
    while (isMounted(this.directory)) execFileSync("umount", ["-l", this.directory]);
    try {
      rmdirSync(this.directory);
    } catch {
      rmSync(this.directory, { recursive: true, force: true });
    }
  }
}

export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), "brinefs-fuse-"));
}

export function isMounted(directory: string): boolean {
  return readFileSync("/proc/self/mounts", "utf8").includes(` ${directory} `);
}
