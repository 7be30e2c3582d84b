/**
 * Leases: no two clients believe at any time in leases that exclude each other; and at rest, what clients have cached is what
 * the leader has, under leases that the leader knows of.
 */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../client/client.ts";
import type { MetadataServer } from "../../metadata/metadata-server.ts";
import type { InodeRecord } from "../../namespace/model.ts";
import { Violation } from "./violation.ts";

export interface Holding {
  readonly name: string;
  readonly client: Client;
}

/** Throws Violation. Clients whose session doesn't stand for certain have no leases. */
export function checkExclusive(mounts: readonly Holding[]): void {
  const holders = new Map<number, { name: string; mode: string; grant: number }>();
  for (const { name, client } of mounts) {
    if (!client.session.live) continue;
    for (const { inode, mode, grant } of client.leasesHeld()) {
      const other = holders.get(inode);
      if (other === undefined || mode === "exclusive") holders.set(inode, { name, mode, grant });
      if (other === undefined || (mode === other.mode && mode !== "exclusive")) continue;
      throw new Violation(
        "an exclusive lease has one holder",
        `inode ${inode}: ${other.name} has it ${other.mode} (grant ${other.grant}), ${name} ${mode} (grant ${grant})`,
      );
    }
  }
}

/** Throws Violation. Nothing may be under way. */
export function checkCaches(mounts: readonly Holding[], leader: MetadataServer, volume: number): void {
  for (const { name, client } of mounts) {
    if (!client.session.live) continue;
    const modes = new Map(client.leasesHeld().map(({ inode, mode }) => [inode, mode]));
    for (const cached of client.cachedRecords()) {
      const { inode } = cached.attributes;
      const known = leader.inspect(volume, inode);
      if (known === undefined) return;
      const mode = modes.get(inode);
      const believed = known.holders.find(({ session }) => session === client.session.id)?.mode;
      if (believed !== mode) {
        throw new Violation(
          "the leader knows of all leases",
          `inode ${inode}: ${name} ${mode}, at the leader ${believed}`,
        );
      }
      if (known.record !== undefined && isDeepStrictEqual(withAccessOf(cached, known.record), { ...known.record }))
        continue;
      const texts = [cached, known.record].map((record) => JSON.stringify(record, textOfBig));
      throw new Violation("cached records are the leader's", `${name}: ${texts[0]}\n    leader: ${texts[1]}`);
    }
  }
}

/** The time of last access may be an earlier one than the leader's: others have read it since (client/access-times.ts). */
function withAccessOf(cached: InodeRecord, { attributes: { atimeNs } }: InodeRecord): InodeRecord {
  if (cached.attributes.atimeNs >= atimeNs) return { ...cached };
  return { ...cached, attributes: { ...cached.attributes, atimeNs } };
}

function textOfBig(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}
