/** A process that stays and makes system calls for a test: see agent.py. */
import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Context, root, undo } from "./cluster.ts";

export type Call = readonly [name: string, ...values: unknown[]];

/** What a call gave: a value, or the name of an error. */
export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: each call has a value of its own; the test that makes it knows which
  readonly value?: any;
  readonly error?: string;
  readonly seconds: number;
  /** When it returned, on the machine's monotonic clock. */
  readonly endSeconds: number;
}

export interface Attributes {
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeNs: string;
  readonly ctimeNs: string;
}

/** A call that doesn't come back in this time is a hang, and the test says which it was. */
const patienceMs = 60_000;

export class Agent {
  readonly name: string;
  readonly child: ChildProcess;
  readonly #waiting: { done: (line: string) => void; fail: (error: Error) => void }[] = [];

  constructor(context: Context, name: string) {
    this.name = name;
    this.child = spawn("python3", [join(root, "test/system/agent.py")], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.child.stdout! }).on("line", (line) => this.#waiting.shift()?.done(line));
    this.child.on("exit", (code, signal) => {
      for (const one of this.#waiting.splice(0)) one.fail(new Error(`agent ${name} ended: ${signal ?? code}`));
    });
    this.child.stdin!.on("error", () => {}); // its end is told by "exit"
    undo(context, () => {
      this.child.kill("SIGKILL");
    });
  }

  /** One call and its answer, an error included. */
  async try(...call: Call): Promise<Answer> {
    return (await this.#send(call)) as Answer;
  }

  /** One call that must succeed, and its value. */
  // biome-ignore lint/suspicious/noExplicitAny: see Answer
  async do(...call: Call): Promise<any> {
    const answer = await this.try(...call);
    assert.equal(answer.error, undefined, `${this.name}: ${JSON.stringify(call).slice(0, 200)}`);
    return answer.value;
  }

  /** Several calls, one after the other, in one message. */
  async all(calls: readonly Call[]): Promise<Answer[]> {
    return (await this.#send(calls)) as Answer[];
  }

  async #send(request: unknown): Promise<unknown> {
    assert.ok(this.child.exitCode === null && this.child.signalCode === null, `agent ${this.name} runs`);
    const text = JSON.stringify(request);
    let timer: NodeJS.Timeout | undefined;
    const line = await new Promise<string>((done, fail) => {
      this.#waiting.push({ done, fail });
      timer = setTimeout(() => fail(new Error(`agent ${this.name}: no answer to ${text.slice(0, 300)}`)), patienceMs);
      this.child.stdin!.write(`${text}\n`);
    }).finally(() => clearTimeout(timer));
    return JSON.parse(line);
  }
}
