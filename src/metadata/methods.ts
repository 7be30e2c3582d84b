/** The metadata server's methods on the wire: who may call them, and which part answers. */
import { BrineError } from "../errors/brine-error.ts";
import {
  changeStore,
  checkChunks,
  createVolume,
  deleteVolume,
  explainInode,
  orderScrub,
  readClusterMetrics,
  readClusterWaits,
  readStatus,
  setCopies,
} from "../wire/catalogue/admin.ts";
import type { Role } from "../wire/catalogue/handshake.ts";
import {
  acquireLease,
  acquireLeases,
  grantSpace,
  heartbeat,
  lookup,
  readDirectory,
  readGroups,
  readMappings,
  readPath,
  readPlacement,
  release,
  releaseLeases,
  reportStore,
  stateHoldings,
  statVolume,
  transact,
} from "../wire/catalogue/leader.ts";
import { cancelLock, setLock, stateLocks, testLock } from "../wire/catalogue/locks.ts";
import { changeRules, labelStore, locateFile, readRules } from "../wire/catalogue/placement.ts";
import { grantQuota, listQuotas, setQuota } from "../wire/catalogue/quotas.ts";
import { caughtUp, judgeDifferences, registerStore, storeHeartbeat } from "../wire/catalogue/registration.ts";
import { closeSession, lifeline, openSession } from "../wire/catalogue/sessions.ts";
import type { Method } from "../wire/method.ts";
import type { Handler, Peer, Work } from "../wire/peer.ts";
import type { Service } from "../wire/service.ts";
import type { Admin } from "./admin.ts";
import type { ChunkCheck } from "./chunk-check.ts";
import type { CopiesReport } from "./copies-report.ts";
import type { Groups } from "./groups.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { LeaseAnswers } from "./lease-answers.ts";
import type { LockAnswers } from "./lock-answers.ts";
import type { ClusterMetrics } from "./observation/cluster-metrics.ts";
import type { ClusterWaits } from "./observation/cluster-waits.ts";
import type { FileLocations } from "./observation/file-location.ts";
import type { InodeReports } from "./observation/inode-report.ts";
import type { Placements } from "./placements.ts";
import type { Queries } from "./queries.ts";
import type { QuotaGrants } from "./quota-grants.ts";
import type { Quotas } from "./quotas.ts";
import type { Reaper } from "./reaper.ts";
import type { Scrubs } from "./scrubs.ts";
import type { Session, Sessions } from "./sessions.ts";
import type { SpaceGrants } from "./space-grants.ts";
import type { SpaceGuard } from "./space-guard.ts";
import type { StoreChanges } from "./store-changes.ts";
import type { StoreReports } from "./store-reports.ts";
import type { Stores } from "./stores.ts";
import type { Transactions } from "./transactions.ts";

/** Everything that answers; there once the server has replayed its ledger. */
export interface Parts {
  readonly leader: Leader;
  readonly space: SpaceGuard;
  readonly copies: CopiesReport;
  readonly sessions: Sessions;
  readonly transactions: Transactions;
  readonly answers: LeaseAnswers;
  readonly lockAnswers: LockAnswers;
  readonly queries: Queries;
  readonly holdings: Holdings;
  readonly spaceGrants: SpaceGrants;
  readonly quotaGrants: QuotaGrants;
  readonly quotas: Quotas;
  readonly stores: Stores;
  readonly groups: Groups;
  readonly reports: StoreReports;
  readonly reaper: Reaper;
  readonly admin: Admin;
  readonly chunkCheck: ChunkCheck;
  readonly storeChanges: StoreChanges;
  readonly scrubs: Scrubs;
  readonly placements: Placements;
  readonly fileLocations: FileLocations;
  readonly clusterWaits: ClusterWaits;
  readonly inodeReports: InodeReports;
  readonly clusterMetrics: ClusterMetrics;
}

/** @param parts what answers now; throws BrineError notServing while nothing does */
export function registerMethods(service: Service, parts: () => Parts): void {
  const methods = new Methods(service, parts);
  registerSessionMethods(methods);
  registerNamespaceMethods(methods);
  registerLeaseMethods(methods);
  registerLockMethods(methods);
  registerStoreMethods(methods);
  registerAdminMethods(methods);
}

type Answer<Q, R> = (parts: Parts, body: Q, peer: Peer, work: Work) => R | Promise<R>;
type SessionAnswer<Q, R> = (parts: Parts, session: Session, body: Q, work: Work) => R | Promise<R>;

class Methods {
  readonly #service: Service;
  readonly #parts: () => Parts;

  constructor(service: Service, parts: () => Parts) {
    this.#service = service;
    this.#parts = parts;
  }

  on<Q, R>(roles: readonly Role[], method: Method<Q, R>, answer: Answer<Q, R>): void {
    const handler: Handler<Q, R> = (body, _payload, peer, work) => answer(this.#parts(), body, peer, work);
    this.#service.handle(method, handler, { roles });
  }

  /** Only on the connection that speaks for the session. */
  inSession<Q extends { session: number }, R>(method: Method<Q, R>, answer: SessionAnswer<Q, R>): void {
    this.on(["client"], method, (parts, body, peer, work) =>
      answer(parts, parts.sessions.of(body.session, peer), body, work),
    );
  }
}

function registerSessionMethods(methods: Methods): void {
  methods.on(["client"], openSession, ({ sessions }, body, peer) => sessions.open(body, peer));
  methods.on(["client"], stateHoldings, ({ leader, sessions, copies }, body, peer) => {
    const { volume } = sessions.state(body, peer);
    const quotaVersion = leader.namespace.volume(volume)?.quotaVersion ?? 0;
    return { quotaVersion, leaders: [...copies.addresses] };
  });
  methods.on(["client"], heartbeat, ({ leader, sessions, space, copies }, body, peer) => {
    sessions.heartbeat(body.session, peer);
    const writeThrough = space.mustWriteThrough(sessions.count);
    return { nowNs: leader.committer.nowNs(), writeThrough, ...ledgerOf(leader), leaders: [...copies.addresses] };
  });
  methods.on(["client"], lifeline, ({ sessions }, body, peer) => {
    sessions.lifeline(body, peer);
    return {};
  });
  methods.on(["client"], closeSession, async ({ sessions }, body, peer) => {
    await sessions.close(body.session, peer);
    return {};
  });
}

function registerNamespaceMethods(methods: Methods): void {
  methods.inSession(transact, ({ transactions }, session, body, work) => transactions.execute(session, body, work));
  methods.inSession(lookup, ({ answers }, session, body) => answers.lookup(session, body));
  methods.inSession(readDirectory, ({ answers }, session, body) => answers.readDirectory(session, body));
  methods.inSession(readPlacement, ({ placements }, session) => placements.read(session));
  methods.inSession(readPath, ({ placements }, session, body) => placements.path(session, body.inode));
  methods.inSession(statVolume, ({ queries }, session, body) => queries.statVolume(session, body.inode));
  methods.inSession(grantQuota, ({ quotaGrants }, session, body) => quotaGrants.ask(session, body));
  methods.inSession(grantSpace, ({ spaceGrants }, session, body) => spaceGrants.exchange(session.id, body));
}

function registerLeaseMethods(methods: Methods): void {
  methods.inSession(acquireLease, ({ answers }, session, body) => answers.acquire(session, body));
  methods.inSession(acquireLeases, ({ answers }, session, body) => answers.acquireMany(session, body));
  methods.inSession(readMappings, ({ answers }, session, body) => answers.mappings(session, body.inode, body.from));
  methods.inSession(releaseLeases, ({ answers }, session, body) => {
    answers.releaseLeases(session, body.leases);
    return {};
  });
  methods.inSession(release, ({ answers }, session, body) => {
    answers.release(session, body.inodes);
    return {};
  });
  methods.on(["client", "store"], readGroups, ({ groups }, body) => {
    const views = groups.views();
    return { views: body.groups.length === 0 ? views : views.filter((view) => body.groups.includes(view.group)) };
  });
  methods.inSession(reportStore, async ({ reports }, session, body) => ({
    removed: await reports.check(body.store, body.reason, session.id),
  }));
}

function registerLockMethods(methods: Methods): void {
  methods.inSession(setLock, ({ lockAnswers }, session, body) => lockAnswers.set(session, body));
  methods.inSession(testLock, ({ lockAnswers }, session, body) => lockAnswers.test(session, body));
  methods.inSession(cancelLock, ({ lockAnswers }, session, body) => lockAnswers.cancel(session, body.wait));
  methods.inSession(stateLocks, ({ lockAnswers }, session, body) => {
    lockAnswers.state(session, body.inode, body.locks);
    return {};
  });
}

function registerStoreMethods(methods: Methods): void {
  methods.on(["store"], registerStore, ({ leader, stores, groups, sessions, copies }, body, peer) =>
    stores.register(body, peer, ({ store }, lossSettled) => ({
      store,
      lossSettled,
      views: groups.views(store, new Set(body.knownGroups)),
      liveSessions: sessions.liveIds(),
      sessionsBelow: leader.namespace.sessionsBelow,
      heartbeatMs: leader.timeouts.storeHeartbeatMs,
      serveMs: leader.timeouts.storeServeMs,
      leaders: [...copies.addresses],
    })),
  );
  methods.on(["store"], storeHeartbeat, ({ leader, stores, spaceGrants, copies }, body, peer) => {
    stores.heartbeat(body, peer);
    spaceGrants.reported(body.store);
    const state = stores.get(body.store);
    if (state !== undefined && !state.roles.includes("metadata")) copies.offer(state);
    return { ...ledgerOf(leader), leaders: [...copies.addresses] };
  });
  methods.on(["store"], judgeDifferences, ({ scrubs }, body) => scrubs.judge(body));
  methods.on(["store"], caughtUp, ({ stores, groups }, body, peer) => {
    if (stores.get(body.store)?.peer !== peer) throw new BrineError("notServing", "the store has to register first");
    groups.caughtUp(body.store, body.group, body.generation);
    return {};
  });
}

function registerAdminMethods(methods: Methods): void {
  methods.on(["admin"], readStatus, ({ admin }) => admin.status());
  methods.on(["admin"], readClusterWaits, ({ clusterWaits }) => clusterWaits.read());
  methods.on(["admin"], explainInode, ({ inodeReports }, body) => inodeReports.explain(body));
  methods.on(["admin"], readClusterMetrics, ({ clusterMetrics }, body) => clusterMetrics.read(body));
  methods.on(["admin"], checkChunks, ({ chunkCheck }, body) => chunkCheck.part(body));
  methods.on(["admin"], setCopies, async ({ admin }, body) => {
    await admin.setCopies(body);
    return {};
  });
  methods.on(["admin"], orderScrub, ({ scrubs }, body) => scrubs.order(body));
  methods.on(["admin"], changeStore, ({ storeChanges }, body) => storeChanges.change(body));
  methods.on(["admin"], labelStore, ({ storeChanges }, body) => storeChanges.label(body.store, body.labels));
  methods.on(["admin"], readRules, ({ placements }, body) => placements.show(body.volume));
  methods.on(["admin"], changeRules, ({ placements }, body) => placements.change(body));
  methods.on(["admin"], locateFile, ({ fileLocations }, body) => fileLocations.locate(body));
  methods.on(["admin"], setQuota, async ({ quotas }, body) => {
    await quotas.set(body);
    return {};
  });
  methods.on(["admin"], listQuotas, ({ quotas }, body) => quotas.list(body.volume, body.all));
  methods.on(["admin"], createVolume, ({ admin }, body) => admin.createVolume(body));
  methods.on(["admin"], deleteVolume, async ({ admin }, body) => {
    await admin.deleteVolume(body.name);
    return {};
  });
}

/** What heartbeats tell of it: see wire/known-term.ts. */
function ledgerOf({ committer, namespace }: Leader): { ledgerTerm: number; ledgerIndex: number } {
  return { ledgerTerm: committer.term, ledgerIndex: namespace.appliedIndex };
}
