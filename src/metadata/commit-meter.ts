/** What the committer measures: how long changes wait for their turn, for the ledger, for being applied, and how many go together. */
import type { Histogram, Metrics } from "../metrics/metrics.ts";

export class CommitMeter {
  readonly #queue: Histogram;
  readonly #append: Histogram;
  readonly #apply: Histogram;
  readonly #transactions: Histogram;
  readonly #bytes: Histogram;

  constructor(metrics: Metrics) {
    this.#queue = metrics.histogram(
      "brine_commit_queue_seconds",
      "From a change's submission to the beginning of its append to the ledger.",
    );
    this.#append = metrics.histogram("brine_ledger_append_seconds", "Making one batch durable in the ledger.");
    this.#apply = metrics.histogram("brine_commit_apply_seconds", "Applying one batch to the namespace.");
    this.#transactions = metrics.histogram("brine_commit_transactions", "Transactions in one batch.");
    this.#bytes = metrics.histogram("brine_commit_bytes", "Bytes of one batch in the ledger.");
  }

  taken(submittedMs: number, nowMs: number): void {
    this.#queue.observeMs(nowMs - submittedMs);
  }

  appended(batch: { transactions: number; bytes: number; ms: number }): void {
    this.#append.observeMs(batch.ms);
    this.#transactions.observe(batch.transactions);
    this.#bytes.observe(batch.bytes);
  }

  applied(ms: number): void {
    this.#apply.observeMs(ms);
  }
}
