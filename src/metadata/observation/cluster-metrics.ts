/** Metrics of all processes of the cluster, for `brine top` and `brine why`. */
import type { ProcessMetrics } from "../../wire/catalogue/admin.ts";
import { processesMax } from "../../wire/catalogue/admin.ts";
import { readMetrics, type WireSeries } from "../../wire/catalogue/watch.ts";
import { metricsOf, toWire } from "../../wire/process-methods.ts";
import type { OwnIdentity } from "../admin.ts";
import type { Leader } from "../leader.ts";
import type { Asking } from "./asking.ts";

/** Of the 16 MiB that an answer may have. */
const answerBytesMax = 12 * 1024 * 1024;

export interface ClusterMetricsParts {
  readonly leader: Leader;
  readonly own: OwnIdentity;
  readonly asking: Asking;
}

interface Request {
  readonly lastMinute: boolean;
  /** 0: everybody. */
  readonly session: number;
}

export class ClusterMetrics {
  readonly #parts: ClusterMetricsParts;
  readonly #startedMs: number;

  constructor(parts: ClusterMetricsParts) {
    this.#parts = parts;
    this.#startedMs = parts.leader.lifetime.nowMs();
  }

  async read({
    lastMinute,
    session,
  }: Request): Promise<{ processes: ProcessMetrics[]; silent: string[]; omitted: number }> {
    const { asking, own } = this.#parts;
    const clients = asking.clients().filter((client) => session === 0 || client.session === session);
    // A store of this very process has its figures among the leader's.
    const stores = session === 0 ? asking.stores().filter(({ serverId }) => serverId !== own.serverId) : [];
    const { answers, silent } = await asking.ask([...stores, ...clients], readMetrics, { lastMinute });
    const told = answers.map(({ from, body }) => ({ role: from.role, who: from.who, session: from.session, ...body }));
    const all: ProcessMetrics[] = session === 0 ? [this.#own(lastMinute), ...told] : told;
    const processes: ProcessMetrics[] = [];
    let bytes = 0;
    for (const one of all) {
      bytes += bytesOf(one.series);
      if (bytes > answerBytesMax || processes.length === processesMax) break;
      processes.push(one);
    }
    return { processes, silent, omitted: all.length - processes.length };
  }

  #own(lastMinute: boolean): ProcessMetrics {
    const { leader, own } = this.#parts;
    const livedMs = leader.lifetime.nowMs() - this.#startedMs;
    const { forMs, series } = metricsOf(leader.platform.metrics, lastMinute, livedMs);
    return { role: "leader", who: own.address, session: 0, forMs, series: series.map(toWire) };
  }
}

/** About what they take on the wire. */
function bytesOf(series: readonly WireSeries[]): number {
  let bytes = 0;
  for (const { name, labels, buckets } of series) bytes += name.length + labels.length * 50 + buckets.length * 10 + 50;
  return bytes;
}
