/** What administrators ask: the cluster's state, and volumes. */
import { BrineError } from "../errors/brine-error.ts";
import { errno } from "../errors/errno.ts";
import { fewestCopies, inSyncCount } from "../namespace/in-sync-min.ts";
import { defaultFailureDomain, type VolumeRecord } from "../namespace/model.ts";
import { minimumProblems } from "../placement/below-minimum.ts";
import { isOrphaned } from "../placement/heir.ts";
import { stays } from "../placement/plan-moves.ts";
import type { BadFileRange, ClusterStatus, CopiesChange, ServerStatus } from "../wire/catalogue/admin.ts";
import type { ForeignPeers } from "../wire/foreign-peers.ts";
import type { CopiesReport } from "./copies-report.ts";
import { termsProblem } from "./grants.ts";
import type { Groups } from "./groups.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import { noVolume, volumeNamed } from "./named.ts";
import type { Placements } from "./placements.ts";
import type { Reaper } from "./reaper.ts";
import type { Scrubs } from "./scrubs.ts";
import type { Sessions } from "./sessions.ts";
import type { SpaceGuard } from "./space-guard.ts";
import type { StoreState, Stores } from "./stores.ts";

/** Sentences in one answer. */
const problemsMax = 1024;

/** Sentences about bad bytes of files; the whole list is in the status. */
const badRangesShown = 20;

/** Who this server is. */
export interface OwnIdentity {
  readonly clusterId: string;
  readonly serverId: string;
  readonly address: string;
  readonly pid: number;
}

export interface AdminParts {
  readonly leader: Leader;
  readonly own: OwnIdentity;
  readonly stores: Stores;
  readonly groups: Groups;
  readonly sessions: Sessions;
  readonly holdings: Holdings;
  readonly reaper: Reaper;
  readonly space: SpaceGuard;
  readonly copies: CopiesReport;
  readonly foreign: Pick<ForeignPeers, "problems">;
  readonly scrubs: Scrubs;
  readonly placements: Placements;
}

export class Admin {
  readonly #parts: AdminParts;

  constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  status(): ClusterStatus {
    const { leader, own, groups, copies, scrubs } = this.#parts;
    const { namespace } = leader;
    const badRanges = scrubs.badRanges();
    return {
      clusterId: own.clusterId,
      servers: this.#servers(),
      volumes: namespace.volumes(),
      sessions: this.#sessions(),
      groups: namespace.groups(),
      healing: groups.healingNow(),
      badRanges,
      metadata: copies.text,
      appliedIndex: namespace.appliedIndex,
      chunksToDelete: namespace.chunksToDeleteCount,
      problems: this.#problems(badRanges).slice(0, problemsMax),
    };
  }

  async createVolume(request: {
    name: string;
    replicas: number;
    inSyncMin: number;
    uid: number;
    gid: number;
    mode: number;
  }): Promise<{ volume: VolumeRecord }> {
    const { leader, groups } = this.#parts;
    const { name, replicas, inSyncMin } = request;
    if (!/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/.test(name)) {
      throw new BrineError("invalid", `"${name}" can't be a volume's name`, {
        advice: "use 1 to 64 of A–Z a–z 0–9 . _ -, and neither . nor ..",
      });
    }
    checkInSyncMin(inSyncMin, { replicas, fewest: replicas });
    if (leader.namespace.volumeByName(name) !== undefined) throw alreadyThere(name);
    const result = await leader.committer.execute({
      kind: "createVolume",
      ...request,
      groups: groups.choose({ replicas, labels: [], failureDomain: defaultFailureDomain }),
    });
    if (result.kind === "failed" && result.errno === errno.EEXIST) throw alreadyThere(name);
    if (result.kind !== "made")
      throw new BrineError("invalid", `volume "${name}" can't be made: ${JSON.stringify(result)}`);
    await groups.made();
    leader.log.info("volume created", { volume: name, replicas, inSyncMin });
    return { volume: leader.namespace.volume(result.id)! };
  }

  /**
   * The copies are made, or given up, afterwards. Resolves when all clients know how many have to be in sync.
   * Errors: notFound, invalid.
   */
  async setCopies({ name, ...change }: CopiesChange): Promise<void> {
    const { leader, groups, placements } = this.#parts;
    const { volume, ...before } = volumeNamed(leader.namespace, name);
    const { replicas = before.replicas, inSyncMin = before.inSyncMin } = change;
    if (change.replicas !== undefined) this.#checkStores(replicas);
    checkInSyncMin(inSyncMin, { replicas, fewest: fewestCopies(replicas, leader.namespace.placement(volume)) });
    const result = await leader.committer.execute({ kind: "setCopies", volume, replicas, inSyncMin });
    if (result.kind === "failed" && result.errno === errno.EINVAL)
      throw new BrineError("busy", `the rules of volume "${name}" were changed meanwhile`, { advice: "try it again" });
    if (result.kind !== "done") throw noVolume(name);
    leader.log.info("volume changed", { volume: name, replicas, inSyncMin });
    groups.look();
    if (change.inSyncMin !== undefined) await placements.whenAllKnow(volume);
  }

  /** Errors: invalid. */
  #checkStores(replicas: number): void {
    const { leader, groups } = this.#parts;
    const usable = leader.namespace.stores().filter(({ store }) => stays(groups.moves.role(store))).length;
    if (replicas >= 1 && usable >= replicas) return;
    throw new BrineError("invalid", `${replicas} copies need as many stores; there are ${usable}`, {
      advice: 'start more servers with the store role; see "brine store list"',
    });
  }

  async deleteVolume(name: string): Promise<void> {
    const { leader, reaper } = this.#parts;
    const volume = volumeNamed(leader.namespace, name);
    const result = await leader.committer.execute({ kind: "deleteVolume", volume: volume.volume });
    if (result.kind === "failed") {
      throw new BrineError("busy", `volume "${name}" is mounted`, {
        advice: 'unmount it first; "brine status" shows where',
      });
    }
    leader.log.info("volume deleted", { volume: name });
    reaper.look();
  }

  #servers(): ServerStatus[] {
    const { own, stores } = this.#parts;
    const servers = stores
      .all()
      .map((store) => this.#storeStatus(store))
      .filter(({ status }) => status !== "removed");
    const self = servers.find((server) => server.serverId === own.serverId);
    if (self !== undefined) {
      // The process that answers is there, whatever its store does.
      Object.assign(self, { pid: own.pid, address: own.address });
      if (!self.roles.includes("metadata")) self.roles = ["metadata", ...self.roles];
      return servers;
    }
    const { serverId, address, pid } = own;
    const none = {
      store: 0,
      isSlow: false,
      isCalledSlow: false,
      status: "active" as const,
      labels: [],
      totalBytes: 0,
      freeBytes: 0,
      badBlocks: 0,
      repairedBlocks: 0,
      scrub: undefined,
      groupsInSync: 0,
      groupsCatchingUp: 0,
      groupsBehind: 0,
    };
    return [{ serverId, address, pid, roles: ["metadata"], state: "online", ...none }, ...servers];
  }

  #storeStatus(state: StoreState): ServerStatus {
    const { leader, stores } = this.#parts;
    const { store, serverId, address, pid, totalBytes, freeBytes, badBlocks, repairedBlocks, scrub } = state;
    const groups = leader.namespace
      .groups()
      .flatMap((group) => group.members.filter((member) => member.store === store));
    const count = (wanted: string): number => groups.filter((member) => member.state === wanted).length;
    return {
      serverId,
      address,
      pid,
      roles: [...state.roles],
      state: stores.condition(store) === "online" ? "online" : "offline",
      store,
      isSlow: stores.slow().has(store),
      ...this.#recordOf(store),
      totalBytes,
      freeBytes,
      badBlocks,
      repairedBlocks,
      scrub,
      groupsInSync: count("inSync"),
      groupsCatchingUp: count("catchingUp"),
      groupsBehind: count("behind"),
    };
  }

  #groupsWithLastCopyAt(store: number): number {
    return this.#parts.leader.namespace.groups().filter((group) => {
      // What is left of a group counts, too: its heir's copy.
      const state = isOrphaned(group) ? "catchingUp" : "inSync";
      return inSyncCount(group) <= 1 && group.members.some((one) => one.store === store && one.state === state);
    }).length;
  }

  #recordOf(store: number): Pick<ServerStatus, "status" | "labels" | "isCalledSlow"> {
    const { status, labels, isCalledSlow } = this.#parts.leader.namespace.stores().find((one) => one.store === store)!;
    return { status, labels, isCalledSlow };
  }

  #sessions(): ClusterStatus["sessions"] {
    const { leader, sessions, holdings } = this.#parts;
    const nowMs = leader.lifetime.nowMs();
    return sessions.all().map((session) => {
      const { leases, holds } = holdings.of(session.volume);
      return {
        session: session.id,
        volume: session.volume,
        host: session.host,
        openedNs: session.openedNs,
        heardMsAgo: Math.max(0, Math.round(nowMs - session.heardMs)),
        leases: leases.count(session.id),
        holds: holds.count(session.id),
      };
    });
  }

  #problems(badRanges: readonly BadFileRange[]): string[] {
    const { leader, stores, groups, sessions, space, copies, foreign, placements } = this.#parts;
    const present = stores.all().filter(({ store }) => this.#recordOf(store).status !== "removed");
    const stored = present.flatMap((store) => this.#problemsOf(store));
    const problems = [...copies.problems, ...stored, ...badRanges.slice(0, badRangesShown).map(rangeText)];
    if (badRanges.length > badRangesShown) {
      problems.push(`Bad copies: ${badRanges.length - badRangesShown} more ranges, see "brine status --json".`);
    }
    const lackingRoom = groups.moves.problem;
    if (lackingRoom !== undefined) problems.push(lackingRoom);
    problems.push(...minimumProblems(leader.namespace.groups(), leader.namespace.volumes()));
    problems.push(...placements.problems, ...foreign.problems);
    const terms = termsProblem(leader.committer.term);
    if (terms !== undefined) problems.push(terms);
    if (space.isLow) problems.push("The metadata server's disk is full: new files are refused. Make room on it.");
    for (const session of sessions.all()) {
      if (session.ending === undefined || session.ending === "closed") continue;
      problems.push(`The mount of ${session.host} (session ${session.id}) is being ended: ${session.ending}.`);
    }
    for (const wait of leader.waits.list()) {
      const ms = leader.lifetime.nowMs() - wait.sinceMs;
      if (ms < leader.timeouts.waitWarningMs) continue;
      const fields = Object.entries(wait.describe()).map(([name, value]) => `${name} ${value}`);
      problems.push(`Waiting for ${wait.what} since ${(ms / 1000).toFixed(1)} s: ${fields.join(", ")}.`);
    }
    return problems;
  }

  #problemsOf(state: StoreState): string[] {
    const { leader, stores } = this.#parts;
    const { store, address, failure, offlineSinceNs } = state;
    const { groupsCatchingUp, groupsBehind, state: condition, isSlow } = this.#storeStatus(state);
    const who = `Store ${store} (${address})`;
    const problems: string[] = [];
    const less = groupsBehind > 0 ? `${groupsBehind} groups have one copy less` : "";
    const last = this.#groupsWithLastCopyAt(store);
    const gone = last > 0 ? `it has the last good copy of ${last} groups, who uses them waits` : "";
    const never = last > 0 ? ` If it is gone for good: brine store remove ${store} --accept-loss.` : "";
    const effects = [less, gone].filter(Boolean).join("; ");
    const behind = effects === "" ? "" : `: ${effects}`;
    if (failure !== undefined) {
      problems.push(
        /\bE[MN]FILE\b/.test(failure)
          ? `${who} had no file descriptor left for its log (${failure})${behind}. Raise its limit (ulimit -n, LimitNOFILE=) and start its server again.`
          : `${who} has a failed disk (${failure})${behind}. Replace the disk and start the server on an empty directory.${never}`,
      );
    } else if (state.stall !== undefined) {
      problems.push(
        `${who} has a disk that does not answer (${state.stall} when it said so)${behind}. It comes back by itself when the disk does.`,
      );
    } else if (state.lost !== undefined) {
      problems.push(
        `${who} has lost data of which it has the only copy (${state.lost}): it waits. Bring a store back that has another copy, or start it with --accept-loss.`,
      );
    } else if (condition === "offline") {
      const since = offlineSinceNs === undefined ? "" : ` since ${timeText(offlineSinceNs)}`;
      const how = state.isLeaving ? "was stopped" : "is offline";
      const successor = stores.all().find((other) => other !== state && other.address === address && other.isSeen);
      const advice =
        successor === undefined || last > 0
          ? `Start its server again.${never}`
          : `Its server has store ${successor.store} now; if the disk before is gone for good: brine store remove ${store}.`;
      problems.push(`${who} ${how}${since}${behind}. ${advice}`);
    } else if (groupsBehind + groupsCatchingUp > 0) {
      const groups = `${groupsBehind + groupsCatchingUp} groups have one copy less`;
      problems.push(
        state.freeBytes === 0
          ? `${who} has too little room to catch up, its disk is full: ${groups}. Delete files, or add a store.`
          : `${who} is catching up: ${groups} until then.`,
      );
    } else if (isSlow) {
      problems.push(
        `${who} is slow: an operation of its disk takes ${state.diskLatencyMs} ms on the average, much longer than on the others. Reads go elsewhere, writes wait for it. Look at its disk, or drain it.`,
      );
    }
    const rival = stores.processes.problem(store, leader.lifetime.nowMs());
    if (rival !== undefined) problems.push(`${who} ${rival}`);
    return problems;
  }
}

function rangeText({ volume, path, inode, offset, length, stores, isLost }: BadFileRange): string {
  const file = path === "" ? `inode ${inode} (without a name)` : path;
  const where = `${volume}:${file}, ${length} bytes at offset ${offset}`;
  const who = `store${stores.length === 1 ? "" : "s"} ${stores.join(", ")}`;
  if (!isLost) return `Bad copy of ${where} on ${who}: not repaired yet, another store has them.`;
  return `No good copy is left of ${where} (${who}): reading them fails with EIO. Write them anew, or restore the file.`;
}

/** @param fewest copies that the volume or a rule of it makes. Errors: invalid. */
function checkInSyncMin(inSyncMin: number, { replicas, fewest }: { replicas: number; fewest: number }): void {
  if (inSyncMin >= 1 && inSyncMin <= fewest) return;
  const copies = fewest < replicas ? `a placement rule makes ${fewest} copies` : `there are to be ${replicas} copies`;
  throw new BrineError("invalid", `${inSyncMin} in sync can't be had: ${copies}`, {
    advice: `ask for 1 to ${fewest} (--in-sync-min), or for more copies`,
  });
}

function alreadyThere(name: string): BrineError {
  return new BrineError("exists", `there is a volume "${name}" already`);
}

function timeText(ns: bigint): string {
  return new Date(Number(ns / 1_000_000n)).toISOString();
}
