/**
 * Metrics in the text format that Prometheus reads, version 0.0.4.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 *
 * Of a histogram every power of two is told, which keeps a scrape small; the finer buckets are for `brine top`.
 */
import { bucketStart, type SparseBuckets } from "./buckets.ts";
import type { FamilyView, Labels, Series } from "./metrics.ts";

export const contentType = "text/plain; version=0.0.4; charset=utf-8";

/** Upper bounds of the buckets told, as powers of two of what is kept: 1 µs to 67 s, or 1 byte to 64 MiB. */
const powers = Array.from({ length: 27 }, (_, power) => power);

export function expose(families: readonly FamilyView[]): string {
  const lines: string[] = [];
  for (const family of [...families].sort((left, right) => (left.name < right.name ? -1 : 1))) {
    if (family.series.length === 0) continue;
    lines.push(`# HELP ${family.name} ${family.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`);
    lines.push(`# TYPE ${family.name} ${family.kind}`);
    for (const series of family.series) {
      if (family.kind === "histogram") exposeHistogram(lines, series, family.scale);
      else lines.push(`${family.name}${labelsText(series.labels)} ${numberText(series.value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function exposeHistogram(lines: string[], { name, labels, value, count, buckets }: Series, scale: number): void {
  for (const power of powers) {
    const bound = numberText(2 ** power / scale);
    lines.push(`${name}_bucket${labelsText({ ...labels, le: bound })} ${countBelow(buckets, 2 ** power)}`);
  }
  lines.push(`${name}_bucket${labelsText({ ...labels, le: "+Inf" })} ${count}`);
  lines.push(`${name}_sum${labelsText(labels)} ${numberText(value)}`);
  lines.push(`${name}_count${labelsText(labels)} ${count}`);
}

/** Observations in the buckets that end at `bound` or below. Each power of two is where a bucket begins. */
function countBelow(buckets: SparseBuckets, bound: number): number {
  let total = 0;
  for (const { index, count } of buckets) {
    if (bucketStart(index + 1) > bound) break;
    total += count;
  }
  return total;
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  // Sums of milliseconds have the rounding of floating point behind the nanoseconds.
  return String(Number.isInteger(value) ? value : Number(value.toFixed(9)));
}
