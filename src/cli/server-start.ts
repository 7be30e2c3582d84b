/** Starts the roles of a server on its data directory and its address, and undoes all of it in the opposite order. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { everyStep } from "../errors/every-step.ts";
import { Voter } from "../ledger/copies/voter.ts";
import { MetadataRole } from "../metadata/metadata-role.ts";
import type { Label } from "../namespace/model.ts";
import { judgeDisk, probeDisk, shortProbe } from "../platform/disk-probe.ts";
import type { LogLevel } from "../platform/logger.ts";
import { type Address, NetworkError } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { absolutePath, thisProcess } from "../platform/processes.ts";
import { randomId } from "../platform/random.ts";
import { StoreServer } from "../store/store-server.ts";
import { stopServer } from "../wire/catalogue/admin.ts";
import type { LedgerRule } from "../wire/catalogue/ledger.ts";
import { connectPeer } from "../wire/connect.ts";
import { ForeignPeers } from "../wire/foreign-peers.ts";
import { laterKeepers } from "../wire/handshake.ts";
import { type ListenOptions, listenPeers } from "../wire/listen.ts";
import { Service } from "../wire/service.ts";
import {
  type DataDirectory,
  type DataIdentity,
  initialiseDataDirectory,
  openDataDirectory,
  writeIdentity,
} from "./data-directory.ts";
import { writeJson } from "./json-file.ts";
import { parseMetricsAddress, startMetrics } from "./metrics-endpoint.ts";
import { isLoopback, parseAddress } from "./options.ts";
import { allRoles } from "./roles.ts";
import { removeRunning, writeRunning } from "./running.ts";

const dayMs = 24 * 3600 * 1000;

export interface ServerOptions {
  readonly data: string;
  readonly listen: string;
  readonly roles?: readonly string[];
  readonly join?: string;
  readonly insecure: boolean;
  readonly acceptLoss: boolean;
  readonly label: readonly Label[];
  /** Bytes a second. */
  readonly healRate?: number;
  readonly scrubRate?: number;
  readonly scrubDays?: number;
  /** Milliseconds. */
  readonly rebuildAfter?: number;
  readonly ledgerCopies?: LedgerRule;
  readonly metrics?: string;
  readonly logLevel: LogLevel;
}

export interface RunningServer {
  readonly address: Address;
  stop(): Promise<void>;
  onStopRequested(callback: (reason: string) => void): void;
  /** The metadata role has ended by itself: the process is to end, and to be started again. */
  onFailure(callback: (error: Error) => void): void;
}

/**
 * The server's own `stop` ends everything, also behind what fails to end; its errors are those of the disk, as where that is full: then the next
 * start reads more of the logs. Errors: BrineError, with everything that was started ended again.
 */
export async function startServer(platform: Platform, options: ServerOptions): Promise<RunningServer> {
  const address = checkListen(platform, options);
  const metricsAddress =
    options.metrics === undefined ? undefined : parseMetricsAddress(options.metrics, options.insecure);
  const directory = await openDataDirectory(platform.disk, absolutePath(options.data));
  const undo: (() => Promise<void> | void)[] = [() => directory.release()];
  const stop = () => everyStep(undo.splice(0).reverse());
  try {
    const fresh = directory.identity === undefined;
    const join = (options.join ?? "").split(",").filter(Boolean).map(parseAddress);
    let identity = await identify(platform, directory, join, options.roles);
    const leaders = join.length > 0 ? join : identity.leaders;
    const service = new Service();
    let stopRequested: (reason: string) => void = () => {};
    service.handle(
      stopServer,
      () => {
        stopRequested("asked by an administrator");
        return {};
      },
      { roles: ["admin"] },
    );
    const ids = { clusterId: identity.clusterId, serverId: identity.serverId };
    const voter = await Voter.open(platform, { path: `${directory.path}/ballot`, serverId: ids.serverId });
    voter.register(service);
    let onFailure: (error: Error) => void = () => {};
    const foreign = new ForeignPeers(platform.clock);
    let isReachable = false;
    let metadata: MetadataRole | undefined;
    let store: StoreServer | undefined;
    if (identity.roles.includes("metadata")) {
      const role = await MetadataRole.start(platform, {
        directory: `${directory.path}/metadata`,
        ...ids,
        address,
        pid: thisProcess.pid,
        createCluster: fresh && leaders.length === 0,
        mustExist: identity.hasMetadata,
        ...(options.rebuildAfter !== undefined && { timeouts: { rebuildAfterMs: options.rebuildAfter } }),
        isReachable: () => isReachable,
        foreign,
        voter,
        leaders,
        rule: options.ledgerCopies ?? "preferred",
        onEnd: (error) => onFailure(error),
      });
      undo.push(() => role.stop());
      role.register(service);
      metadata = role;
    }
    const hadStore = identity.hasStore;
    identity = await markMade(platform, directory.path, identity);
    const storeLeaders = identity.roles.includes("metadata") ? [address, ...leaders] : leaders;
    if (identity.roles.includes("store")) {
      if (fresh) await recordProbe(platform, directory.path);
      const started = await StoreServer.start(platform, {
        directory: `${directory.path}/store`,
        besideDirectory: directory.path,
        ...ids,
        address,
        leaders: storeLeaders,
        onLeaders: (known) => void remember(platform, directory, identity, known, address),
        pid: thisProcess.pid,
        roles: identity.roles,
        acceptLoss: options.acceptLoss,
        mustExist: hadStore,
        labels: options.label,
        ...(options.healRate !== undefined && { healBytesPerSecond: options.healRate }),
        ...(options.scrubRate !== undefined && { scrubBytesPerSecond: options.scrubRate }),
        ...(options.scrubDays !== undefined && { scrubMs: options.scrubDays * dayMs }),
      });
      undo.push(() => started.stop());
      started.register(service);
      store = started;
    }
    const metrics = await startMetrics(platform, metricsAddress);
    undo.push(() => metrics.close());
    // Only now: who connects before the roles are there would be refused instead of having to wait.
    const listener = await listenAt(platform, address, {
      service,
      identity: () => ({
        ...ids,
        term: metadata?.term ?? 0,
        origin: metadata?.origin,
        keepers: laterKeepers(voter.keepers, store?.keepers),
      }),
      onForeign: (request, from) => foreign.refused(request, from),
    });
    isReachable = true;
    undo.push(() => listener.close());
    // Before anybody is refused. A leader ends before its store and the connections do: it would take all stores for failed ones.
    undo.push(async () => {
      if (metadata?.server === undefined) await store?.leave();
      else await metadata.stop();
    });
    await writeRunning(platform.disk, directory.path, {
      addresses: identity.roles.includes("metadata") ? storeLeaders : [...leaders, address],
    });
    undo.push(() => removeRunning(platform.disk, directory.path));
    platform.logger.for("server").info("serving", { address, roles: identity.roles.join(","), ...ids });
    return {
      address,
      stop,
      onStopRequested: (callback) => {
        stopRequested = callback;
      },
      onFailure: (callback) => {
        onFailure = callback;
      },
    };
  } catch (error) {
    await stop().catch((failure: Error) => {
      platform.logger.for("server").warn("not everything has ended in order", { reason: failure.message });
    });
    throw error;
  }
}

/**
 * From now on a folder that is gone is a loss. The metadata is there, and has served nobody yet; the store is made next: a crash
 * in between is the loss of nothing.
 */
async function markMade(platform: Platform, path: string, identity: DataIdentity): Promise<DataIdentity> {
  const [hasMetadata, hasStore] = [identity.roles.includes("metadata"), identity.roles.includes("store")];
  if (identity.hasMetadata === hasMetadata && identity.hasStore === hasStore) return identity;
  const marked = { ...identity, hasMetadata, hasStore };
  await writeIdentity(platform, path, marked);
  return marked;
}

/** What the disk does is measured once, in short, and kept for whoever asks later why a store is slow. */
async function recordProbe(platform: Platform, directory: string): Promise<void> {
  const probe = await probeDisk(directory, shortProbe);
  const { fit, remarks } = judgeDisk(probe);
  await writeJson(platform.disk, `${directory}/probe.json`, { ...probe, fit, remarks });
  const log = platform.logger.for("server");
  const syncMs = Number(probe.syncMs.median.toFixed(2));
  log.info("disk measured", { directory, fileSystem: probe.fileSystem, syncMs, direct: probe.direct, fit });
  if (!fit) log.warn("the disk is not fit for a store", { directory, remarks: remarks.join("; ") });
}

/** Until connections are authenticated, only this machine may reach a server, unless its owner says otherwise. */
function checkListen(platform: Platform, options: ServerOptions): Address {
  const address = parseAddress(options.listen);
  if (isLoopback(address)) return address;
  if (!options.insecure) {
    throw new BrineError(
      "invalid",
      `${address} can be reached by other machines, and connections are not authenticated`,
      {
        advice:
          "listen on 127.0.0.1, or say --insecure if everyone who can reach the address may read and write all data",
      },
    );
  }
  platform.logger
    .for("server")
    .warn("INSECURE: everyone who can reach this address may read, change and delete all data", {
      address,
    });
  return address;
}

/** Who this server is: from its data directory, or for a fresh one a new cluster or the one that it joins. */
async function identify(
  platform: Platform,
  directory: DataDirectory,
  leaders: readonly Address[],
  roles: readonly string[] | undefined,
): Promise<DataIdentity> {
  const known = directory.identity;
  if (known !== undefined) {
    if (roles !== undefined && [...roles].sort().join() !== [...known.roles].sort().join()) {
      throw new BrineError("invalid", `${directory.path} was made for the roles ${known.roles.join(",")}`, {
        advice: "leave --roles out, or choose another directory",
      });
    }
    if (leaders.length > 0) await checkCluster(platform, directory.path, known, leaders);
    return known;
  }
  const wanted = roles ?? (leaders.length === 0 ? allRoles : ["store"]);
  if (leaders.length === 0 && !wanted.includes("metadata")) {
    throw new BrineError("invalid", "a server without the metadata role needs a cluster", {
      advice: "name its metadata server with --join HOST:PORT",
    });
  }
  const clusterId = leaders.length === 0 ? randomId(platform.random) : await clusterOf(platform, leaders);
  return initialiseDataDirectory(platform, directory.path, { clusterId, roles: wanted, leaders });
}

/** A store of another cluster is refused at once; a metadata server that is down is no reason not to start. */
async function checkCluster(
  platform: Platform,
  path: string,
  known: DataIdentity,
  leaders: readonly Address[],
): Promise<void> {
  let clusterId: string;
  try {
    clusterId = await clusterOf(platform, leaders);
  } catch (error) {
    if (hasCode(error, "unreachable", "timedOut", "closed")) return;
    throw error;
  }
  if (clusterId !== known.clusterId) {
    throw new BrineError(
      "wrongCluster",
      `${path} belongs to cluster ${known.clusterId}, ${leaders[0]} is of ${clusterId}`,
      {
        advice: "choose another data directory, or join the cluster that it belongs to",
      },
    );
  }
}

/** The id of the cluster at one of these addresses. Error: unreachable. */
async function clusterOf(platform: Platform, leaders: readonly Address[]): Promise<string> {
  let failure: unknown;
  for (const address of leaders) {
    try {
      const identity = { role: "store" as const, clusterId: "", peerId: "", description: "brine server, joining" };
      const peer = await connectPeer(platform, address, identity, new Service(), 3_000);
      peer.close("asked for the cluster's id");
      return peer.clusterId;
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}

/** A leader has told where its copy is: the store finds it after a restart, too. */
async function remember(
  platform: Platform,
  { path }: DataDirectory,
  identity: DataIdentity,
  known: readonly Address[],
  own: Address,
): Promise<void> {
  const leaders = known.filter((address) => address !== own || !identity.roles.includes("metadata"));
  try {
    await writeIdentity(platform, path, { ...identity, leaders });
  } catch (error) {
    platform.logger.for("server").warn("the leaders' addresses are not remembered", { reason: String(error) });
  }
}

async function listenAt(
  platform: Platform,
  address: Address,
  options: ListenOptions,
): Promise<{ address: Address; close(): Promise<void> }> {
  try {
    return await listenPeers(platform, address, options);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const isForeign = error.code === "EADDRNOTAVAIL";
    const reasons: Record<string, string> = {
      EADDRINUSE: "another program listens there",
      EADDRNOTAVAIL: "this machine doesn't have that address",
    };
    throw new BrineError(
      isForeign ? "invalid" : "busy",
      `cannot listen on ${address}: ${reasons[error.code] ?? error.code}`,
      {
        advice: isForeign ? "give --listen one of its own (ip addr)" : "choose another port with --listen",
        cause: error,
      },
    );
  }
}
