/** What a mount and a server do for those who watch them: keep the last minute's figures, and serve all on request. */
import { BrineError } from "../errors/brine-error.ts";
import { contentType, expose } from "../metrics/exposition.ts";
import { History } from "../metrics/history.ts";
import { serveTexts } from "../platform/http-server.ts";
import { type Address, NetworkError } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { processFigures } from "../platform/processes.ts";
import { isLoopback, parseAddress } from "./options.ts";

export const metricsPath = "/metrics";

export const metricsOption = [
  "--metrics <address>",
  "serve metrics for Prometheus at http://ADDRESS/metrics; a port alone is on 127.0.0.1 (default: not at all)",
] as const;

/** `9411` or `HOST:PORT`. Error: invalid. */
export function parseMetricsAddress(text: string, mayBeReached: boolean): Address {
  const address = parseAddress(/^\d+$/.test(text) ? `127.0.0.1:${text}` : text);
  if (mayBeReached || isLoopback(address)) return address;
  throw new BrineError("invalid", `${address} can be reached by other machines, and metrics tell what is done here`, {
    advice: "serve metrics on 127.0.0.1",
  });
}

/** Begins to keep figures, and serves them at `address` if there is one. Errors: busy. */
export async function startMetrics(platform: Platform, address: Address | undefined): Promise<{ close(): void }> {
  const { metrics, clock } = platform;
  metrics.gauge("process_resident_memory_bytes", "Memory of this process.", {}, () => processFigures().residentBytes);
  metrics.gauge(
    "brine_timer_late_seconds",
    "How late the last timer was: a busy process is late in all it does.",
    {},
    () => {
      return (metrics.history?.lateMs ?? 0) / 1000;
    },
  );
  metrics.reading(
    "process_cpu_seconds_total",
    "Processor time of this process.",
    {},
    () => processFigures().cpuSeconds,
  );
  History.keep(clock, metrics);
  if (address === undefined) return { close: () => {} };
  try {
    const server = await serveTexts(address, (path) => {
      return path === metricsPath ? { contentType, text: expose(metrics.families()) } : undefined;
    });
    platform.logger.for("metrics").info("serving metrics", { url: `http://${server.address}${metricsPath}` });
    return server;
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const reason = error.code === "EADDRINUSE" ? "another program listens there" : error.code;
    throw new BrineError("busy", `metrics can't be served at ${address}: ${reason}`, {
      advice: "choose another address with --metrics",
      cause: error,
    });
  }
}
