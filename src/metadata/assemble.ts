/** Puts the parts of a metadata server together. */
import { leadersChanged, recallLeases } from "../wire/catalogue/leader.ts";
import { lockGranted } from "../wire/catalogue/locks.ts";
import type { ForeignPeers } from "../wire/foreign-peers.ts";
import type { Peer } from "../wire/peer.ts";
import { Admin, type OwnIdentity } from "./admin.ts";
import { ChunkCheck } from "./chunk-check.ts";
import type { CopiesReport } from "./copies-report.ts";
import { Ending } from "./ending.ts";
import { Grants } from "./grants.ts";
import { GroupTurns } from "./group-turns.ts";
import { Groups } from "./groups.ts";
import { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import { LeaseAnswers } from "./lease-answers.ts";
import { LockAnswers } from "./lock-answers.ts";
import type { Parts } from "./methods.ts";
import { Asking } from "./observation/asking.ts";
import { ClusterMetrics } from "./observation/cluster-metrics.ts";
import { ClusterWaits } from "./observation/cluster-waits.ts";
import { FileLocations } from "./observation/file-location.ts";
import { InodeReports } from "./observation/inode-report.ts";
import { registerLeaderGauges } from "./observation/leader-gauges.ts";
import { Placements } from "./placements.ts";
import { Queries } from "./queries.ts";
import { QuotaGrants } from "./quota-grants.ts";
import { ownSession, Quotas } from "./quotas.ts";
import { Reaper } from "./reaper.ts";
import { Recalls } from "./recalls.ts";
import { Scrubs } from "./scrubs.ts";
import { Sessions } from "./sessions.ts";
import { SpaceGrants } from "./space-grants.ts";
import type { SpaceGuard } from "./space-guard.ts";
import { StoreChanges } from "./store-changes.ts";
import { StoreReports } from "./store-reports.ts";
import { Stores } from "./stores.ts";
import { Transactions } from "./transactions.ts";
import { UnbornInodes } from "./unborn-inodes.ts";

/** @param options.term the ledger's, which is higher with every start */
export function assemble(
  leader: Leader,
  options: {
    own: OwnIdentity;
    term: number;
    space: SpaceGuard;
    copies: CopiesReport;
    foreign: Pick<ForeignPeers, "problems">;
  },
): Parts {
  const { own, term, space, copies, foreign } = options;
  const { lifetime, waits, timeouts } = leader;
  const recalled = leader.platform.metrics.counter("brine_lease_recalls_total", "Leases asked back from clients.");
  // Some parts ask others that are made after them; the calls come later.
  const recalls = new Recalls(lifetime, (session, message) => {
    const peer = sessions.get(session)?.peer;
    const timeoutMs = timeouts.clientAnswerMs;
    recalled.add(message.leases.length);
    peer?.request(recallLeases, message, { timeoutMs, urgent: true }).catch(() => {});
  });
  const nameOf = (session: number): string =>
    session === ownSession ? "the leader, for a quota" : `${sessions.get(session)?.host ?? "?"} (session ${session})`;
  const grants = new Grants(term);
  const { recallAgainMs } = timeouts;
  const { leaseBounds: bounds } = leader;
  const granted = (session: number, wait: number, grant: number): void => {
    const timeoutMs = timeouts.clientAnswerMs;
    const { peer } = sessions.get(session) ?? {};
    peer?.request(lockGranted, { wait, grant }, { timeoutMs, urgent: true }).catch(() => {});
  };
  const holdings = new Holdings({ lifetime, waits, grants, recalls, recallAgainMs, bounds, nameOf, granted });
  const stores: Stores = new Stores(leader, {
    onChange: () => groups.look(),
    settled: () => groups.settled(),
    hasLost: (store, loss, peer) => groups.hasLost(store, loss, peer),
    acceptLoss: (store) => groups.acceptLoss(store),
    isMounted: () => sessions.all().length > 0,
  });
  const clients = (): Peer[] => sessions.all().flatMap(({ peer }) => (peer === undefined ? [] : [peer]));
  const groups: Groups = new Groups({ leader, stores, clients });
  const ending = new Ending({
    leader,
    stores,
    groups,
    holdings,
    whenAnswered: (session) => transactions.whenAnswered(session),
  });
  const sessions: Sessions = new Sessions(leader, holdings, {
    end: (session) => ending.end(session),
    onStated: (session, held) => quotaGrants.restate(session, held),
    onBack: (session) => spaceGrants.forgotten(session),
    onGone: (session) => {
      transactions.drop(session);
      spaceGrants.drop(session);
      quotaGrants.drop(session);
    },
    onFewer: () => reaper.look(),
  });
  const spaceGrants = new SpaceGrants({ leader, stores, recalls });
  const reaper: Reaper = new Reaper({ leader, stores, sessions, holdings });
  const quotaGrants: QuotaGrants = new QuotaGrants({ leader, sessions, reaper });
  const quotas = new Quotas({ leader, sessions, holdings, quotaGrants });
  const turns = new GroupTurns(leader, (stores) => spaceGrants.roomOn(stores));
  const transactions: Transactions = new Transactions({ leader, holdings, turns, onOrphan: () => reaper.look() });
  const unborn = new UnbornInodes(leader, sessions);
  const answers = new LeaseAnswers({ leader, sessions, holdings, unborn, onFreed: () => reaper.lookAtRest() });
  const lockAnswers = new LockAnswers({ leader, sessions, holdings });
  const queries = new Queries(leader, stores);
  const reports = new StoreReports(leader, stores, groups);
  const chunkCheck = new ChunkCheck(leader, stores);
  const scrubs = new Scrubs(leader, stores);
  const placements = new Placements({ leader, groups, sessions });
  const storeChanges = new StoreChanges(leader, stores, groups, placements);
  const admin = new Admin({
    leader,
    own,
    stores,
    groups,
    sessions,
    holdings,
    reaper,
    space,
    copies,
    foreign,
    scrubs,
    placements,
  });
  return {
    leader,
    space,
    copies,
    sessions,
    transactions,
    answers,
    lockAnswers,
    queries,
    holdings,
    spaceGrants,
    quotaGrants,
    quotas,
    stores,
    groups,
    reports,
    reaper,
    admin,
    chunkCheck,
    storeChanges,
    scrubs,
    placements,
    fileLocations: new FileLocations(leader, stores),
    ...observe({ leader, own, sessions, stores, holdings }),
  };
}

/** What people ask when something is slow. */
function observe(
  parts: Pick<Parts, "leader" | "sessions" | "stores" | "holdings"> & { own: OwnIdentity },
): Pick<Parts, "clusterWaits" | "inodeReports" | "clusterMetrics"> {
  const asking = new Asking(parts);
  const clusterWaits = new ClusterWaits({ ...parts, asking });
  return {
    clusterWaits,
    inodeReports: new InodeReports({ ...parts, waits: clusterWaits }),
    clusterMetrics: new ClusterMetrics({ ...parts, asking }),
  };
}

/** Who is connected learns of a new copy at once: the leader may be lost before the next heartbeat. */
function tellLeaders({ leader, sessions, stores, copies }: Parts): void {
  const leaders = [...copies.addresses];
  const timeoutMs = leader.timeouts.clientAnswerMs;
  for (const { peer } of [...sessions.all(), ...stores.all()]) {
    // Who misses it is told with the next heartbeat, or connection.
    peer?.request(leadersChanged, { leaders }, { timeoutMs, urgent: true }).catch(() => {});
  }
}

/** They take over what is in the state, and begin their work. */
export function startParts(parts: Parts): void {
  const { sessions, stores, groups, quotas, reaper, copies } = parts;
  registerLeaderGauges(parts);
  copies.onAddresses(() => tellLeaders(parts));
  sessions.start();
  stores.start();
  groups.start();
  reaper.start();
  quotas.start();
}
