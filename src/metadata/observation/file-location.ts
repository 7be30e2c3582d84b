/** What `brine where` asks: in which groups and on which stores the chunks of a file are, and whether the rules still say so. */
import { textOf } from "../../namespace/byte-strings.ts";
import { groupOfChunk, type Mapping, type VolumeRecord } from "../../namespace/model.ts";
import { PathRules } from "../../placement/path-rules.ts";
import { type FileLocation, listedToEnd, rangesMax } from "../../wire/catalogue/placement.ts";
import type { Leader } from "../leader.ts";
import { volumeNamed } from "../named.ts";
import { rulesOf } from "../placements.ts";
import type { Stores } from "../stores.ts";
import { inodeAsked, pathText } from "./paths.ts";

/** Mappings read for one answer. */
const mappingsMax = 65_536;

export class FileLocations {
  readonly #leader: Leader;
  readonly #stores: Stores;

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** Errors: notFound (no such volume). */
  locate(request: { volume: string; inode: number; path: string; from: number }): FileLocation {
    const { namespace } = this.#leader;
    const volume = volumeNamed(namespace, request.volume);
    const { inode, missing } = inodeAsked(namespace, volume, request);
    const record = namespace.inode(volume.volume, inode);
    const path = record === undefined ? undefined : namespace.pathOf(volume.volume, inode);
    const { mappings, mappedBelow } = namespace.mappings(volume.volume, inode, request.from, mappingsMax);
    const ranges = rangesOf(mappings);
    const listed = ranges.slice(0, rangesMax);
    return {
      missing,
      inode,
      path: pathText(path),
      type: record?.attributes.type ?? "",
      size: record?.attributes.size ?? 0,
      ...this.#placement(volume, record?.pool ?? 0, textOf(path ?? ""), mappings),
      groups: this.#groups(mappings),
      ranges: listed,
      listedBelow: listed.length < ranges.length ? listed.at(-1)!.last + 1 : Math.min(mappedBelow, listedToEnd),
    };
  }

  #placement(
    volume: VolumeRecord,
    pool: number,
    path: string,
    mappings: readonly Mapping[],
  ): Pick<FileLocation, "replicas" | "labels" | "rule" | "isInPlace"> {
    const { namespace } = this.#leader;
    const placement = namespace.placement(volume.volume);
    const { replicas, labels } = placement.pools.find((one) => one.pool === pool) ?? {
      replicas: volume.replicas,
      labels: [],
    };
    const at = path === "" ? -1 : new PathRules(placement.rules).indexOf(path);
    const said = placement.rules[at]?.pool ?? 0;
    const poolsOfGroups = new Map(namespace.groups().map((group) => [group.group, group.pool]));
    const isThere = ({ chunk }: Mapping) => poolsOfGroups.get(groupOfChunk(chunk)) === said;
    const rule = rulesOf(placement, volume.replicas)[at];
    return {
      replicas,
      labels,
      rule: rule === undefined ? undefined : { position: at + 1, rule },
      isInPlace: pool === said && mappings.every(isThere),
    };
  }

  #groups(mappings: readonly Mapping[]): FileLocation["groups"] {
    const counts = new Map<number, number>();
    for (const { chunk } of mappings) counts.set(groupOfChunk(chunk), (counts.get(groupOfChunk(chunk)) ?? 0) + 1);
    const records = new Map(this.#leader.namespace.stores().map((record) => [record.store, record]));
    return this.#leader.namespace
      .groups()
      .filter(({ group }) => counts.has(group))
      .slice(0, rangesMax)
      .map(({ group, generation, members }) => ({
        group,
        generation,
        chunks: counts.get(group)!,
        members: members.map(({ store, state }) => ({
          store,
          state,
          address: records.get(store)?.address ?? "",
          condition: this.#stores.condition(store),
          labels: records.get(store)?.labels ?? [],
        })),
      }));
  }
}

/** Chunks one behind the other in one group. */
function rangesOf(mappings: readonly Mapping[]): FileLocation["ranges"] {
  const ranges: FileLocation["ranges"] = [];
  for (const { index, chunk } of mappings) {
    const group = groupOfChunk(chunk);
    const last = ranges.at(-1);
    if (last !== undefined && last.group === group && last.last + 1 === index) last.last = index;
    else ranges.push({ first: index, last: index, group });
  }
  return ranges;
}
