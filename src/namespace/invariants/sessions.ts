/** Sessions with their results and grants; groups and stores. */
import { openGrantsMax } from "../tables/session-table.ts";
import type { Snapshot } from "./snapshot.ts";

type Report = (problem: string) => void;

export function checkSessions(snapshot: Snapshot, report: Report): void {
  const clients = new Set<string>();
  const results = Map.groupBy(snapshot.results, ({ session }) => session);
  for (const [number, session] of snapshot.sessions) {
    const say = (problem: string): void => report(`session ${number}: ${problem}`);
    if (number >= snapshot.header.nextSession) say("was never given");
    if (clients.has(session.clientId)) say(`client ${session.clientId} has another one`);
    clients.add(session.clientId);
    if (snapshot.volumes.get(session.volume)?.deleted !== false) say(`volume ${session.volume} is gone`);
    const kept = (results.get(number) ?? []).map(({ sequence }) => sequence);
    const [after, last] = [session.confirmedSequence, session.lastSequence];
    if (kept.some((sequence) => sequence <= after || sequence > last)) {
      say(`has the results ${kept}, may have ${after + 1} to ${last}`);
    }
  }
  for (const number of results.keys()) if (!snapshot.sessions.has(number)) report(`results of session ${number}`);
  for (const number of snapshot.users.keys()) {
    if (!snapshot.sessions.has(number)) report(`a user of session ${number}, which isn't there`);
  }
  checkGrants(snapshot, report);
  checkGroups(snapshot, report);
}

function checkGrants(snapshot: Snapshot, report: Report): void {
  for (const grants of [snapshot.inodeGrants, snapshot.chunkGrants]) {
    for (const [session, { length }] of Map.groupBy(grants, (grant) => grant.session)) {
      if (!snapshot.sessions.has(session)) report(`grants of session ${session}, which isn't there`);
      if (length > openGrantsMax) report(`session ${session} has ${length} grants`);
    }
  }
  for (const { session, grant } of snapshot.inodeGrants) {
    for (const inode of grant.unused(-1, grant.count)) {
      if (snapshot.inodes.has(inode)) report(`inode ${inode} is there, and unused in a grant of session ${session}`);
      if (inode >= snapshot.header.nextInode) report(`inode ${inode} was granted before its time`);
    }
  }
}

function checkGroups(snapshot: Snapshot, report: Report): void {
  for (const { group, members } of snapshot.groups.values()) {
    const heirs = members.filter(({ state }) => state === "catchingUp").length;
    if (heirs !== 1 && !members.some(({ state }) => state === "inSync")) report(`group ${group} has no member in sync`);
    if (new Set(members.map(({ store }) => store)).size !== members.length) report(`group ${group} has a store twice`);
    for (const { store } of members) if (!snapshot.stores.has(store)) report(`group ${group} has store ${store}`);
    if (group >= snapshot.header.nextGroup) report(`group ${group} was never made`);
  }
  const servers = new Set([...snapshot.stores.values()].map(({ serverId }) => serverId));
  if (servers.size !== snapshot.stores.size) report("two stores have one server id");
}
