/**
 * When a request is given up because its task is being killed.
 *
 * The kernel sends one INTERRUPT when any signal reaches the task that waits; a further signal, SIGKILL included, brings
 * no second one, and a task whose request has been read waits for the answer even when it is killed. Answering EINTR to
 * every INTERRUPT would break file operations that never fail so on a local file system (SIGCHLD, SIGALRM, a resized
 * terminal). So after an INTERRUPT the task is looked at every 100 ms, and only a pending SIGKILL ends its request.
 *
 * A wait for an advisory lock is meant to last, and ends on any signal as fcntl(2) says: it is aborted at once, and its
 * handler answers, because only the file system knows whether the lock was granted just before.
 *
 * While reading from the kernel stands still, INTERRUPTs are not seen: all requests under way are looked at then.
 */
import type { Clock, Timer } from "../platform/clock.ts";
import type { Request } from "./request.ts";

/** What the server must know of the tasks that wait for it. */
export interface Tasks {
  /** SIGKILL is pending for this thread, or there is no such thread. */
  isEnding(task: number): boolean;
  /** This thread has the capability (a bit of linux/capability.h). True where it can't be seen. */
  hasCapability(task: number, bit: number): boolean;
  /** One of its supplementary groups. True where they can't be seen. */
  isInGroup(task: number, group: number): boolean;
  /** Bytes that a file of its process may have (RLIMIT_FSIZE); Infinity without a limit, or where it can't be seen. */
  fileSizeMax(task: number): number;
  /** Its process gets SIGXFSZ, where that may be sent. */
  signalFileSize(task: number): void;
}

/** A person who kills a process doesn't notice it; looking costs some 20 µs. */
const intervalMs = 100;

export class InterruptWatch {
  readonly #clock: Clock;
  readonly #tasks: Tasks;
  readonly #inFlight: ReadonlyMap<number, Request>;
  readonly #giveUp: (request: Request) => void;
  readonly #interrupted = new Set<number>();
  #watchesAll = false;
  #timer: Timer | undefined;

  /** `giveUp` aborts the request and answers it with EINTR. */
  constructor(clock: Clock, tasks: Tasks, inFlight: ReadonlyMap<number, Request>, giveUp: (request: Request) => void) {
    this.#clock = clock;
    this.#tasks = tasks;
    this.#inFlight = inFlight;
    this.#giveUp = giveUp;
  }

  /** INTERRUPT came for the request with this key; it may have been answered meanwhile. */
  interrupted(key: number): void {
    const request = this.#inFlight.get(key);
    if (request === undefined) return;
    if (request.endsOnSignal) request.abort();
    this.#interrupted.add(key);
    this.#look();
  }

  /** All requests under way, instead of only the interrupted ones. */
  watchAll(all: boolean): void {
    this.#watchesAll = all;
    if (all) this.#schedule();
  }

  stop(): void {
    this.#interrupted.clear();
    this.#watchesAll = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    for (const key of this.#interrupted) {
      const request = this.#inFlight.get(key);
      if (request === undefined) this.#interrupted.delete(key);
      else this.#lookAt(key, request);
    }
    if (this.#watchesAll) for (const [key, request] of this.#inFlight) this.#lookAt(key, request);
    if (this.#interrupted.size > 0 || this.#watchesAll) this.#schedule();
  }

  #lookAt(key: number, request: Request): void {
    if (request.answered) return;
    // Task 0 with an INTERRUPT is a thread of another pid namespace. Its SIGKILL can't be seen: every signal counts.
    if (request.task === 0 ? !this.#interrupted.has(key) : !this.#tasks.isEnding(request.task)) return;
    this.#interrupted.delete(key);
    this.#giveUp(request);
  }

  #schedule(): void {
    this.#timer ??= this.#clock.startTimer(intervalMs, () => {
      this.#timer = undefined;
      this.#look();
    });
  }
}
