/** What the command line and the console ask of a server. Numbers 300–399. */
import { boolean, type Infer, i64, list, nothing, struct, text, u8, u16, u32, u64 } from "../../codec/schema.ts";
import { groupMember, volumeRecord } from "../../namespace/model.ts";
import { method } from "../method.ts";

export const serverStatus = struct({
  serverId: text(64),
  address: text(256),
  pid: u32,
  roles: list(text(16), 4),
  /** `online`, or `offline` for a store that isn't heard of. */
  state: text(16),
  /** 0 for a server without the store role. */
  store: u32,
  totalBytes: u64,
  freeBytes: u64,
  badBlocks: u64,
  /** Groups in which the store is a member that is not in sync, by state. */
  groupsInSync: u32,
  groupsCatchingUp: u32,
  groupsBehind: u32,
});

export const clusterStatus = struct({
  clusterId: text(64),
  servers: list(serverStatus, 1024),
  volumes: list(volumeRecord, 1024),
  sessions: list(
    struct({ session: u64, volume: u16, host: text(256), openedNs: i64, heardMsAgo: u32, leases: u32, holds: u32 }),
    65_536,
  ),
  groups: list(struct({ group: u16, replicas: u8, generation: u32, members: list(groupMember, 16) }), 8192),
  /** `one copy`, or where the second one is. */
  metadata: text(256),
  appliedIndex: u64,
  /** Chunks whose deletion is not finished. */
  chunksToDelete: u64,
  /** Sentences for people: what is below its target, and what to do. Empty when all is well. */
  problems: list(text(1024), 1024),
});
export type ClusterStatus = Infer<typeof clusterStatus>;
export type ServerStatus = Infer<typeof serverStatus>;

export const readStatus = method(300, "admin.status", nothing, clusterStatus);

/** Errors: exists, invalid (fewer online stores than replicas; a name that isn't [A-Za-z0-9._-]{1,64}). */
export const createVolume = method(
  301,
  "admin.createVolume",
  struct({ name: text(64), replicas: u8, uid: u32, gid: u32, mode: u16 }),
  struct({ volume: volumeRecord }),
);

/** Errors: notFound, busy (mounted somewhere). */
export const deleteVolume = method(302, "admin.deleteVolume", struct({ name: text(64) }), nothing);

/** The server process ends cleanly. */
export const stopServer = method(303, "admin.stop", struct({ force: boolean }), nothing);
