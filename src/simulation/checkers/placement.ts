/** At rest, after the rules were applied: chunks are in groups of the pool that the path says, and groups on stores as their pool asks for. */
import { textOf } from "../../namespace/byte-strings.ts";
import { groupOfChunk } from "../../namespace/model.ts";
import { Namespace } from "../../namespace/namespace.ts";
import type { State } from "../../namespace/state.ts";
import { mayHold, placeOf, spreadMax, spreadOf } from "../../placement/failure-domains.ts";
import { PathRules } from "../../placement/path-rules.ts";
import { Violation } from "./violation.ts";

const rowsMax = 1_000;

/** Throws Violation. */
export function checkPlacement(state: State): void {
  const namespace = new Namespace(state);
  checkGroups(namespace);
  for (const { volume, root } of namespace.volumes()) checkFiles(namespace, volume, root);
}

function checkGroups(namespace: Namespace): void {
  const places = new Map(namespace.stores().map((record) => [record.store, placeOf(record)]));
  for (const group of namespace.groups()) {
    const members = group.members.map(({ store }) => places.get(store)!);
    const wrong = group.members.find(({ store }) => !mayHold(places.get(store)!, group));
    if (wrong !== undefined) {
      throw new Violation("copies are on stores with the labels", `group ${group.group} is on store ${wrong.store}`);
    }
    const able = [...places.values()].filter((place) => mayHold(place, group));
    if (spreadOf(members, group.failureDomain) < spreadMax(able, group.failureDomain, group.replicas)) {
      throw new Violation("copies are kept apart", `group ${group.group}: ${JSON.stringify(members)}`);
    }
  }
}

/** Of a file with several names any may have counted. */
function checkFiles(namespace: Namespace, volume: number, root: number): void {
  const rules = new PathRules(namespace.placement(volume).rules);
  const pools = new Map(namespace.groups().map(({ group, pool }) => [group, pool]));
  for (const [inode, paths] of filesOf(namespace, volume, root)) {
    const said = paths.map((path) => rules.poolOf(textOf(path)));
    const { pool } = namespace.inode(volume, inode)!;
    const { mappings } = namespace.mappings(volume, inode, 0, rowsMax);
    const found = new Set([pool, ...mappings.map(({ chunk }) => pools.get(groupOfChunk(chunk))!)]);
    if (found.size === 1 && said.includes(pool)) continue;
    const where = `inode ${inode} (${paths.join(", ")}) is in pools ${[...found]}, not in ${said}`;
    throw new Violation("files are where the rules say", where);
  }
}

function filesOf(namespace: Namespace, volume: number, root: number): Map<number, string[]> {
  const files = new Map<number, string[]>();
  const directories = [{ inode: root, path: "" }];
  for (let next = directories.pop(); next !== undefined; next = directories.pop()) {
    for (const { inode, type, name } of namespace.readDirectory(volume, next.inode, 0, rowsMax)) {
      const path = `${next.path}/${name}`;
      if (type === "directory") directories.push({ inode, path });
      else if (type === "file") files.set(inode, [...(files.get(inode) ?? []), path]);
    }
  }
  return files;
}
