/** How any process answers what the leader asks of it for people; see catalogue/watch.ts. */
import type { Labels, Metrics, Series } from "../metrics/metrics.ts";
import type { Platform } from "../platform/platform.ts";
import { type ProcessWait, readMetrics, readWaits, seriesMax, type WireSeries, waitsMax } from "./catalogue/watch.ts";
import type { HandleOptions, Service } from "./service.ts";

/** Lengths that fit into the catalogue's bounds whatever the bytes of a character. */
const textLengthMax = { operation: 120, waitsFor: 250, label: 60 };

const byLeader: HandleOptions = { roles: ["leader", "admin"] };

/** @param waits what waits in this process */
export function registerProcessMethods(service: Service, platform: Platform, waits: () => ProcessWait[]): void {
  const startedMs = platform.clock.nowMs();
  service.handle(readWaits, () => ({ waits: oldest(waits()) }), byLeader);
  service.handle(
    readMetrics,
    ({ lastMinute }) => {
      const { forMs, series } = metricsOf(platform.metrics, lastMinute, platform.clock.nowMs() - startedMs);
      return { forMs, series: series.map(toWire) };
    },
    byLeader,
  );
}

/** Series of this process and the time that they speak of. */
export function metricsOf(metrics: Metrics, lastMinute: boolean, livedMs: number): { forMs: number; series: Series[] } {
  const found = lastMinute ? metrics.history?.lastMinute() : undefined;
  const { forMs, series } = found ?? { forMs: livedMs, series: metrics.series() };
  // A series that has counted nothing says nothing, and most have not.
  const telling = series.filter(({ kind, value, count }) => kind === "gauge" || value !== 0 || count !== 0);
  return { forMs: Math.round(forMs), series: telling.slice(0, seriesMax) };
}

export function toWire({ name, labels, kind, value, count, buckets }: Series): WireSeries {
  const pairs = Object.entries(labels).map(([label, text]) => {
    return { name: label, value: text.slice(0, textLengthMax.label) };
  });
  return { name, labels: pairs, kind, value: String(value), count, buckets: [...buckets] };
}

export function fromWire({ name, labels, kind, value, count, buckets }: WireSeries): Series {
  const named: Labels = Object.fromEntries(labels.map((label) => [label.name, label.value]));
  return { name, labels: named, kind, value: Number(value), count, buckets };
}

/** In the order of their age, within the bounds of the catalogue. */
function oldest(waits: ProcessWait[]): ProcessWait[] {
  return waits
    .sort((left, right) => right.forMs - left.forMs)
    .slice(0, waitsMax)
    .map(({ operation, inode, waitsFor, forMs }) => ({
      operation: operation.slice(0, textLengthMax.operation),
      inode,
      waitsFor: waitsFor.slice(0, textLengthMax.waitsFor),
      forMs: Math.max(0, Math.round(forMs)),
    }));
}
