/** What a client has at the moment, as metrics. */
import type { Metrics } from "../metrics/metrics.ts";
import type { MountSession } from "./mount-session.ts";
import type { Waits } from "./waits.ts";

/** @param mount the present session's */
export function registerClientGauges(metrics: Metrics, waits: Waits, mount: () => MountSession): void {
  const gauge = (name: string, help: string, read: () => number) => metrics.gauge(name, help, {}, read);
  gauge("brine_operations_under_way", "File operations that have not been answered.", () => waits.list().length);
  gauge("brine_client_inodes", "Inodes of which the client has a lease or open handles.", () => mount().leases.count);
  gauge("brine_journal_entries", "Changes that were answered and are not committed.", () => mount().journal.length);
  gauge("brine_dirty_bytes", "File data that is not on all members.", () => mount().contents.dirtyBytes);
  gauge("brine_session_live_seconds", "How long the session stands if nothing more is heard of the leader.", () => {
    return mount().session.liveForMs / 1000;
  });
}
