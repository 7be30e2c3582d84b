/** A logger that writes one line an event, whatever is in the texts. */
import { type LogFields, type Logger, type LogLevel, logLevels } from "./logger.ts";

/** Writes events of `level` and above as lines (without the line end) to `write`. */
export function realLogger(level: LogLevel, write: (line: string) => void): Logger {
  return new LineLogger(logLevels.indexOf(level), write, "");
}

class LineLogger implements Logger {
  readonly #least: number;
  readonly #write: (line: string) => void;
  readonly #prefix: string;

  constructor(least: number, write: (line: string) => void, prefix: string) {
    this.#least = least;
    this.#write = write;
    this.#prefix = prefix;
  }

  debug(event: string, fields?: LogFields): void {
    this.#log("debug", event, fields);
  }

  info(event: string, fields?: LogFields): void {
    this.#log("info", event, fields);
  }

  warn(event: string, fields?: LogFields): void {
    this.#log("warn", event, fields);
  }

  error(event: string, fields?: LogFields): void {
    this.#log("error", event, fields);
  }

  for(part: string): Logger {
    return new LineLogger(this.#least, this.#write, `${part}: `);
  }

  #log(level: LogLevel, event: string, fields: LogFields | undefined): void {
    if (logLevels.indexOf(level) < this.#least) return;
    this.#write(formatLine(new Date().toISOString(), level, this.#prefix + event, fields));
  }
}

/** `TIME LEVEL EVENT key=value …`; a value that a space, quote, `=` or control character would make unclear is quoted as JSON. */
export function formatLine(time: string, level: LogLevel, event: string, fields: LogFields = {}): string {
  let line = `${time} ${level.padEnd(5)} ${oneLine(event)}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${name}=${typeof value === "string" ? quoted(value) : value}`;
  }
  return line;
}

function quoted(value: string): string {
  // Letters, digits and what stands in paths and addresses need no quotes.
  return /^[^\s"=\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$/u.test(value) ? value : oneLine(JSON.stringify(value));
}

/** Control characters (line ends, terminal escapes) as \u escapes. */
function oneLine(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
