/** Logs, one line an event: `2026-05-01T10:00:00.000Z warn  store: member removed group=3 store=2 reason="…"`. */
export type LogLevel = "debug" | "info" | "warn" | "error";

export const logLevels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger whose lines begin with `part:` (store, leader, client, …). */
  for(part: string): Logger;
}
