/** What the leader has at the moment, as metrics. */
import type { Parts } from "../methods.ts";

export function registerLeaderGauges({ leader, sessions, holdings, stores }: Parts): void {
  const { metrics } = leader.platform;
  const volumes = () => new Set(sessions.all().map(({ volume }) => volume));
  const all = () => [...volumes()].map((volume) => holdings.of(volume));
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
  metrics.gauge("brine_sessions", "Clients that have a session.", {}, () => sessions.count);
  metrics.gauge("brine_leases", "Leases that clients have.", {}, () =>
    sum(all().map(({ leases }) => leases.totalCount)),
  );
  metrics.gauge("brine_leader_waits", "Waits that the leader knows of.", {}, () => leader.waits.list().length);
  metrics.gauge(
    "brine_stores_online",
    "Stores that are online.",
    {},
    () => stores.all().filter(({ store }) => stores.condition(store) === "online").length,
  );
  metrics.gauge("brine_ledger_applied_index", "Last entry of the ledger that is applied.", {}, () => {
    return leader.namespace.appliedIndex;
  });
}
