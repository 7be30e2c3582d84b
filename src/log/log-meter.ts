/** What a log measures of its commits: their time on the disk, and how much shares one. */
import type { Histogram, Metrics } from "../metrics/metrics.ts";

/** By the four letters in the segments' headers. */
const names: Readonly<Record<string, string>> = { LDGR: "ledger", stor: "store" };

export class LogMeter {
  readonly #seconds: Histogram;
  readonly #records: Histogram;
  readonly #bytes: Histogram;

  /** @param kind tells the logs of a process apart */
  constructor(metrics: Metrics, kind: string, queuedBytes: () => number) {
    const labels = { log: names[kind] ?? kind };
    this.#seconds = metrics.histogram("brine_log_commit_seconds", "Write and sync of one commit of a log.", labels);
    this.#records = metrics.histogram("brine_log_commit_records", "Records that shared one commit.", labels);
    this.#bytes = metrics.histogram("brine_log_commit_bytes", "Bytes of one commit.", labels);
    metrics.gauge("brine_log_queued_bytes", "Bytes that wait to be written to a log.", labels, queuedBytes);
  }

  committed(commit: { records: number; bytes: number; ms: number }): void {
    this.#seconds.observeMs(commit.ms);
    this.#records.observe(commit.records);
    this.#bytes.observe(commit.bytes);
  }
}
