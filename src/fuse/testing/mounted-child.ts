/** Starts mount-memory.ts as a child on a directory of its own, and sees to it that nothing is left of it. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("mount-memory.ts", import.meta.url));

export class MountedChild {
  readonly directory: string;
  readonly #child: ChildProcess;
  #output = "";
  #exited = false;
  readonly #exit: Promise<void>;

  private constructor(directory: string, words: readonly string[]) {
    this.directory = directory;
    this.#child = spawn(process.execPath, [program, directory, ...words], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
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
