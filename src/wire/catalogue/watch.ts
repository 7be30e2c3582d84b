/** What the leader asks of every process that is connected to it, for people: what waits there, and its metrics. Numbers 400–499. */
import { boolean, type Infer, list, oneOf, struct, text, u16, u64 } from "../../codec/schema.ts";
import { method } from "../method.ts";

/** Most waits of one process in an answer, the oldest. */
export const waitsMax = 1024;

/** One thing that waits in a process. */
export const processWait = struct({
  /** `write`, `fsync`, `giving back a lease`, `store.write for …`. */
  operation: text(512),
  /** What it is about; 0: no single inode. */
  inode: u64,
  /** Whom or what it waits for. */
  waitsFor: text(1024),
  forMs: u64,
});
export type ProcessWait = Infer<typeof processWait>;

export const readWaits = method(400, "watch.readWaits", struct({}), struct({ waits: list(processWait, waitsMax) }));

/** Most series of one process. */
export const seriesMax = 4096;

/** A series as in src/metrics/metrics.ts; numbers that may have a fraction are decimal texts. */
export const wireSeries = struct({
  name: text(128),
  labels: list(struct({ name: text(64), value: text(256) }), 16),
  kind: oneOf("counter", "gauge", "histogram"),
  value: text(32),
  count: u64,
  buckets: list(struct({ index: u16, count: u64 }), 256),
});
export type WireSeries = Infer<typeof wireSeries>;

/** `lastMinute`: what was added in it, where the process keeps that; else since its start. `forMs`: how long that is. */
export const readMetrics = method(
  401,
  "watch.readMetrics",
  struct({ lastMinute: boolean }),
  struct({ forMs: u64, series: list(wireSeries, seriesMax) }),
);
