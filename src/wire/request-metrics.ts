/**
 * How long requests take, by method and peer, on both ends.
 *
 *     asked ─queue─► sent ─────────────────────── round trip ──────────────────────► answered      the side that asks
 *                      └─network─► arrived ─ work, of it waiting for the disk ─► answer sent        the side that answers
 *
 * The answer says how long the other side worked on it; what is left of the round trip is called network. That includes
 * the time in which the bytes lay in a socket because one of the two processes was busy.
 *
 * The totals are for whoever has waited for something that took several requests (the commit of a journal): what all
 * requests of a kind have spent, to be read before and after.
 */
import type { Counter, Histogram, Metrics } from "../metrics/metrics.ts";
import type { Peer } from "./peer.ts";

/** `lease`: the leader made us wait for other clients, as a rule. */
export type RequestKind = "leader" | "lease" | "store" | "other";

/** What all answered requests of a kind have taken, in milliseconds. */
export interface RequestTotals {
  networkMs: number;
  workMs: number;
  /** Part of workMs. */
  diskMs: number;
}

/** What is said of an answered request. */
export interface Timing {
  readonly roundTripMs: number;
  /** As the other side has measured it. */
  readonly workMs: number;
  readonly diskMs: number;
}

/** One method to one peer. */
export class OutgoingMeter {
  readonly #roundTrip: Histogram;
  readonly #network: Histogram;
  readonly #queue: Histogram;
  readonly #failures: Counter;
  readonly #totals: RequestTotals;

  constructor(metrics: Metrics, labels: { method: string; peer: string }, totals: RequestTotals) {
    this.#totals = totals;
    this.#roundTrip = metrics.histogram("brine_request_seconds", "Round trip of a request to another process.", labels);
    this.#network = metrics.histogram(
      "brine_request_network_seconds",
      "Round trip without the time that the other side worked on it.",
      labels,
    );
    this.#queue = metrics.histogram(
      "brine_request_queue_seconds",
      "Requests that had to wait for their turn to be sent: how long.",
      labels,
    );
    this.#failures = metrics.counter("brine_request_failures_total", "Requests that failed or had no answer.", labels);
  }

  queued(ms: number): void {
    this.#queue.observeMs(ms);
  }

  answered({ roundTripMs, workMs, diskMs }: Timing): void {
    const networkMs = Math.max(0, roundTripMs - workMs);
    this.#roundTrip.observeMs(roundTripMs);
    this.#network.observeMs(networkMs);
    this.#totals.networkMs += networkMs;
    this.#totals.workMs += workMs;
    this.#totals.diskMs += diskMs;
  }

  failed(): void {
    this.#failures.add();
  }
}

/** One method for peers of one role. */
export class IncomingMeter {
  readonly #metrics: Metrics;
  readonly #labels: { readonly method: string; readonly by: string };
  readonly #work: Histogram;
  #disk: Histogram | undefined;

  constructor(metrics: Metrics, labels: { method: string; by: string }) {
    this.#metrics = metrics;
    this.#labels = labels;
    this.#work = metrics.histogram("brine_served_seconds", "From a request's arrival to its answer.", labels);
  }

  answered(workMs: number, diskMs: number): void {
    this.#work.observeMs(workMs);
    if (diskMs === 0) return;
    this.#disk ??= this.#metrics.histogram(
      "brine_served_disk_seconds",
      "The part of brine_served_seconds in which the request waited for the disk (the ledger's, the log's).",
      this.#labels,
    );
    this.#disk.observeMs(diskMs);
  }

  failed(code: string): void {
    const labels = { ...this.#labels, code };
    this.#metrics.counter("brine_served_failures_total", "Requests that were answered with a failure.", labels).add();
  }
}

/** All of one process. */
export class RequestMetrics {
  static readonly #known = new WeakMap<Metrics, RequestMetrics>();
  readonly #metrics: Metrics;
  readonly #totals: Record<RequestKind, RequestTotals> = {
    leader: { networkMs: 0, workMs: 0, diskMs: 0 },
    lease: { networkMs: 0, workMs: 0, diskMs: 0 },
    store: { networkMs: 0, workMs: 0, diskMs: 0 },
    other: { networkMs: 0, workMs: 0, diskMs: 0 },
  };

  private constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  /** The one of this process. */
  static of(metrics: Metrics): RequestMetrics {
    let known = RequestMetrics.#known.get(metrics);
    if (known === undefined) {
      known = new RequestMetrics(metrics);
      RequestMetrics.#known.set(metrics, known);
    }
    return known;
  }

  /** Grows with every answer. */
  totals(kind: RequestKind): Readonly<RequestTotals> {
    return this.#totals[kind];
  }

  outgoing(method: string, remote: Peer["remote"]): OutgoingMeter {
    return new OutgoingMeter(this.#metrics, { method, peer: peerLabel(remote) }, this.#totals[kindOf(method)]);
  }

  incoming(method: string, remote: Peer["remote"]): IncomingMeter {
    return new IncomingMeter(this.#metrics, { method, by: remote.role });
  }

  traffic(remote: Peer["remote"]): { sent: Counter; received: Counter } {
    const count = (direction: string) =>
      this.#metrics.counter("brine_network_bytes_total", "Bytes over connections to other brinefs processes.", {
        direction,
        peer: peerLabel(remote),
      });
    return { sent: count("sent"), received: count("received") };
  }
}

/** Servers are told apart by address; of who connects to us there may be thousands. */
function peerLabel({ role, address }: Peer["remote"]): string {
  return role === "server" ? address : role;
}

function kindOf(method: string): RequestKind {
  if (method.startsWith("leader.acquire")) return "lease";
  if (method.startsWith("leader.")) return "leader";
  return method.startsWith("store.") ? "store" : "other";
}
