/** Figures as tables of text. */
import { type Part, parts } from "../client/operation-meter.ts";
import { type Activity, type Latency, operationRows, partRows, processRows, requestRows } from "./figures.ts";
import { sizeText } from "./output.ts";

export type Table = readonly (readonly string[])[];

const partNames: readonly Part[] = parts;

/** File operations and where their time goes. */
export function operationTable(all: readonly Activity[]): Table {
  return [
    ["OPERATION", "RATE", "P50", "P99", ...partNames.map((part) => part.toUpperCase())],
    ...operationRows(all).map((row) => [
      row.operation,
      ...latencyCells(row),
      ...partNames.map((part) => percentText(row.shares[part])),
    ]),
  ];
}

export function partTable(all: readonly Activity[]): Table {
  return [
    ["TIME SPENT IN", "SHARE", "RATE", "P50", "P99"],
    ...partRows(all).map((row) => [row.part, percentText(row.share), ...latencyCells(row)]),
  ];
}

export function requestTable(all: readonly Activity[], most: number): Table {
  return [
    ["REQUEST", "RATE", "P50", "P99", "NETWORK P50", "P99", "SERVED P50", "P99", "FAILED"],
    ...requestRows(all)
      .slice(0, most)
      .map((row) => [
        row.method,
        ...latencyCells(row),
        timeText(row.networkP50Ms),
        timeText(row.networkP99Ms),
        timeText(row.servedP50Ms),
        timeText(row.servedP99Ms),
        row.failuresPerSecond === 0 ? "" : rateText(row.failuresPerSecond),
      ]),
  ];
}

export function processTable(all: readonly Activity[], most: number): Table {
  return [
    ["PROCESS", "", "CPU", "MEMORY", "SENT", "RECEIVED", "COMMITS", "P50", "P99", "RECORDS IN ONE"],
    ...processRows(all)
      .slice(0, most)
      .map((row) => [
        row.role,
        row.who,
        percentText(row.cpu),
        sizeText(row.memoryBytes),
        `${sizeText(row.sentPerSecond)}/s`,
        `${sizeText(row.receivedPerSecond)}/s`,
        ...(row.commits.perSecond === 0 ? ["", "", ""] : latencyCells(row.commits)),
        row.recordsPerCommit === undefined ? "" : row.recordsPerCommit.toFixed(1),
      ]),
  ];
}

function latencyCells({ perSecond, p50Ms, p99Ms }: Latency): string[] {
  return [rateText(perSecond), timeText(p50Ms), timeText(p99Ms)];
}

/** `12 µs`, `3.4 ms`, `1.2 s`. */
export function timeText(ms: number | undefined): string {
  if (ms === undefined) return "";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)} s`;
}

/** `0.2/s`, `15/s`, `12.3k/s`. */
export function rateText(perSecond: number): string {
  if (perSecond === 0) return "0/s";
  if (perSecond < 10) return `${perSecond.toFixed(1)}/s`;
  return perSecond < 10_000 ? `${Math.round(perSecond)}/s` : `${(perSecond / 1000).toFixed(1)}k/s`;
}

function percentText(part: number): string {
  return part < 0.0005 ? "" : part < 0.01 ? "<1 %" : `${Math.round(part * 100)} %`;
}
