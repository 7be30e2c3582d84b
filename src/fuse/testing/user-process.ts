/** A process that uses a mount as a test tells it, one Python expression after the other. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";

/** Answers each line with a line: the value of the expression as JSON, or the error. */
const program = `
import ctypes, errno, fcntl, json, mmap, os, signal, stat, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def mapped(path, size, writable=False):
    fd = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
    memory = mmap.mmap(fd, size, prot=mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0))
    os.close(fd)
    return memory
def put(memory, at, text):
    memory[at:at + len(text)] = text.encode()
def get(memory, at, count):
    return memory[at:at + count].decode("latin1")
def keep(**values):
    globals().update(values)
for line in sys.stdin:
    try:
        value = {"value": eval(line)}
    except OSError as error:
        value = {"error": errno.errorcode[error.errno]}
    except BaseException as error:
        value = {"error": repr(error)}
    print(json.dumps(value), flush=True)
`;

let interpreter: string | undefined;

/** Its real path: a wrapper would look around in the directory. */
function python(): string {
  interpreter ??= execFileSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim();
  return interpreter;
}

export class UserProcess {
  readonly #child: ChildProcess;
  readonly #asked: ((line: { value?: unknown; error?: string }) => void)[] = [];
  readonly #exit: Promise<void>;
  #begun = "";

  /** Runs in the directory. */
  constructor(directory: string) {
    this.#child = spawn(python(), ["-Ic", program], { cwd: directory, stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin!.on("error", () => {}); // it was killed
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      const lines = (this.#begun + text).split("\n");
      this.#begun = lines.pop()!;
      for (const line of lines) this.#asked.shift()?.(JSON.parse(line));
    });
    this.#exit = new Promise((resolve) => this.#child.on("close", () => resolve()));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The expression's value; the name of its error number as a string `!ENOENT`, if it fails. */
  async ask(expression: string): Promise<unknown> {
    const answered = new Promise<{ value?: unknown; error?: string }>((resolve) => this.#asked.push(resolve));
    this.#child.stdin!.write(`${expression.replaceAll("\n", " ")}\n`);
    const ended = this.#exit.then(() => ({ error: "ended" }));
    const answer: { value?: unknown; error?: string } = await Promise.race([answered, ended]);
    return answer.error === undefined ? answer.value : `!${answer.error}`;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Ends it and waits until it has. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    await this.#exit;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }
}
