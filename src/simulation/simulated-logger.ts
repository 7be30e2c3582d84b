/** Keeps the last log lines of all hosts, with virtual time, for the report of a failure; and makes all part of the digest. */

import { fileURLToPath } from "node:url";
import { type LogFields, type Logger, type LogLevel, logLevels } from "../platform/logger.ts";
import { formatLine } from "../platform/real-logger.ts";
import type { Incarnation } from "./incarnation.ts";
import type { Scheduler } from "./scheduler.ts";

/** Of the sources, with a slash behind it: in stacks as a URL, elsewhere as a path. */
const folderUrl = new URL("../..", import.meta.url).href;
const folderPath = fileURLToPath(folderUrl);

export class LogTail {
  readonly #scheduler: Scheduler;
  readonly #level: LogLevel;
  readonly #linesMax: number;
  readonly #lines: string[] = [];

  constructor(scheduler: Scheduler, level: LogLevel, linesMax: number) {
    this.#scheduler = scheduler;
    this.#level = level;
    this.#linesMax = linesMax;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** A line of the simulation itself. */
  add(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (logLevels.indexOf(level) < logLevels.indexOf(this.#level)) return;
    const line = formatLine(`${(this.#scheduler.nowUs / 1_000).toFixed(3)} ms`, level, event, fields);
    // The digest is the same wherever the sources are.
    this.#scheduler.note(line.replaceAll(folderUrl, "").replaceAll(folderPath, ""));
    this.#lines.push(line);
    if (this.#lines.length > 2 * this.#linesMax) this.#lines.splice(0, this.#linesMax);
  }
}

export class SimulatedLogger implements Logger {
  readonly #tail: LogTail;
  readonly #prefix: string;

  constructor(tail: LogTail, incarnation: Incarnation, prefix = `${incarnation.name} `) {
    this.#tail = tail;
    this.#incarnation = incarnation;
    this.#prefix = prefix;
  }

  readonly #incarnation: Incarnation;

  debug(event: string, fields?: LogFields): void {
    this.#tail.add("debug", this.#prefix + event, fields);
  }

  info(event: string, fields?: LogFields): void {
    this.#tail.add("info", this.#prefix + event, fields);
  }

  warn(event: string, fields?: LogFields): void {
    this.#tail.add("warn", this.#prefix + event, fields);
  }

  error(event: string, fields?: LogFields): void {
    this.#tail.add("error", this.#prefix + event, fields);
  }

  for(part: string): Logger {
    return new SimulatedLogger(this.#tail, this.#incarnation, `${this.#incarnation.name} ${part}: `);
  }
}
