/**
 * Quotas as administrators set and see them, and the counting of directories that have got one.
 *
 * A change of limits is committed, then every client of the volume is told and has committed what it had done without knowing
 * (QuotaGrants.round): so when the command returns, all that is done from then on is within the limits.
 *
 * Counting changes records under the hands of clients, which go by what they have of them. So the leader takes the exclusive leases
 * first, like a client, in the order of inode numbers (client/access.ts says why), changes, and gives them back.
 */
import { BrineError } from "../errors/brine-error.ts";
import { type ErrnoName, errno } from "../errors/errno.ts";
import { byteStringOf } from "../namespace/byte-strings.ts";
import type { QuotaLimits, QuotaRecord, QuotaSubject, VolumeRecord } from "../namespace/model.ts";
import type { Operation } from "../namespace/operation.ts";
import { treeChange } from "../namespace/quota-trees.ts";
import type { Counting } from "../namespace/tables/quota-table.ts";
import { hasLimits } from "../namespace/usage.ts";
import { type ListedQuota, listedQuotasMax } from "../wire/catalogue/quotas.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import { volumeNamed } from "./named.ts";
import { pathText } from "./observation/paths.ts";
import type { QuotaGrants } from "./quota-grants.ts";
import type { Sessions } from "./sessions.ts";

/** Holds leases while something is counted: no client has this number. */
export const ownSession = 0;
/** Entries that are looked at in one transaction: some milliseconds. */
const entriesAtOnce = 256;

export interface QuotasParts {
  readonly leader: Leader;
  readonly sessions: Sessions;
  readonly holdings: Holdings;
  readonly quotaGrants: QuotaGrants;
}

export interface QuotaRequest {
  readonly volume: string;
  readonly kind: QuotaSubject["kind"];
  readonly id: number;
  readonly path: string;
  readonly limits: QuotaLimits;
  readonly ends: boolean;
}

export class Quotas {
  readonly #parts: QuotasParts;
  /** Who holds leases under the leader's own session: one at a time, for the order of numbers. */
  #last: Promise<unknown> = Promise.resolve();
  #isCounting = false;

  constructor(parts: QuotasParts) {
    this.#parts = parts;
  }

  /** Goes on with what an earlier leader has left. */
  start(): void {
    this.#look();
  }

  /** Resolves when all clients know of it. Errors: notFound, invalid, busy. */
  async set(request: QuotaRequest): Promise<void> {
    const { leader, sessions, quotaGrants } = this.#parts;
    const { kind, path } = request;
    const volume = volumeNamed(leader.namespace, request.volume);
    await sessions.whenGraceEnds(volume.volume);
    if (kind === "tree") {
      const id = await this.#alone(() => this.#directoryAt(volume, path));
      await this.#withLeases(volume.volume, [id], () => this.#setLimits(volume, { kind, id }, request));
    } else await this.#setLimits(volume, { kind, id: kind === "volume" ? 0 : request.id }, request);
    const { limits, ends } = request;
    const { bytes, inodes } = limits;
    leader.log.info("quota set", { volume: volume.name, kind, id: request.id, path, bytes, inodes, ends });
    this.#look();
    await quotaGrants.round(volume.volume);
  }

  /** Errors: notFound. */
  list(name: string, all: boolean): { quotas: ListedQuota[]; omitted: number } {
    const { namespace } = this.#parts.leader;
    const volumes =
      name === "" ? namespace.volumes().filter(({ deleted }) => !deleted) : [volumeNamed(namespace, name)];
    const found = volumes.flatMap((volume) =>
      namespace
        .quotas(volume.volume)
        .filter((quota) => all || hasLimits(quota.limits) || quota.subject.kind === "tree")
        .map((quota) => this.#listed(volume, quota)),
    );
    const quotas = found.slice(0, listedQuotasMax);
    return { quotas, omitted: found.length - quotas.length };
  }

  #listed({ volume, name }: VolumeRecord, quota: QuotaRecord): ListedQuota {
    const { namespace } = this.#parts.leader;
    const isTree = quota.subject.kind === "tree";
    const path = isTree ? pathText(namespace.pathOf(volume, quota.subject.id)) : "";
    const counting = isTree && namespace.isCountingQuota(volume, quota.subject.id);
    return { volume: name, quota: { ...quota }, path, counting };
  }

  /** Under a lease on each directory of the way: a client may have made it, and not told of it yet. Errors: notFound. */
  async #directoryAt({ volume, root }: VolumeRecord, path: string): Promise<number> {
    const { namespace } = this.#parts.leader;
    let inode = root;
    for (const name of path.split("/").filter((one) => one !== "" && one !== ".")) {
      const found = await this.#holding(volume, [inode], "shared", async () => {
        const isDirectory = namespace.inode(volume, inode)?.attributes.type === "directory";
        return isDirectory ? namespace.lookup(volume, inode, byteStringOf(name))?.inode : undefined;
      });
      if (found === undefined) throw new BrineError("notFound", `there is no "${path}" in the volume`);
      inode = found;
    }
    return inode;
  }

  async #setLimits({ volume }: VolumeRecord, subject: QuotaSubject, { limits, ends }: QuotaRequest): Promise<void> {
    const before = ends ? undefined : this.#parts.leader.namespace.quota(volume, subject)?.limits;
    const all = { bytes: limits.bytes ?? before?.bytes, inodes: limits.inodes ?? before?.inodes };
    await this.#execute({ kind: "setQuota", volume, subject, limits: all });
  }

  async #execute(operation: Operation): Promise<void> {
    const result = await this.#parts.leader.committer.execute(operation);
    if (result.kind !== "failed") return;
    const failure = Object.entries(refusals).find(([name]) => errno[name as ErrnoName] === result.errno)?.[1];
    throw failure?.() ?? new BrineError("invalid", `the quota can't be set: ${JSON.stringify(result)}`);
  }

  // --- counting ---

  #look(): void {
    const { leader } = this.#parts;
    if (this.#isCounting) return;
    this.#isCounting = true;
    leader.lifetime.run("count quotas", () => this.#count());
  }

  async #count(): Promise<void> {
    const { leader } = this.#parts;
    const { lifetime, namespace, log, timeouts } = leader;
    try {
      while (!lifetime.stopped) {
        const [next] = namespace.quotaCounting(1);
        if (next === undefined) return;
        try {
          await this.#countPart(next);
        } catch (error) {
          if (!(error instanceof BrineError) || lifetime.stopped) throw error;
          log.warn("counting of a quota has to wait", { tree: next.tree, reason: error.message });
          await lifetime.sleep(timeouts.retryMs);
        }
      }
    } finally {
      this.#isCounting = false;
    }
  }

  /** The next entries of a directory. */
  async #countPart({ volume, tree, directory, after }: Counting): Promise<void> {
    const { leader, sessions } = this.#parts;
    const { namespace } = leader;
    await sessions.whenGraceEnds(volume);
    const isDirectory = namespace.inode(volume, directory)?.attributes.type === "directory";
    const entries = isDirectory ? namespace.readDirectory(volume, directory, after, entriesAtOnce) : [];
    const { from } = treeChange(namespace.quota(volume, { kind: "tree", id: tree })?.limits, tree);
    const changing = entries.map(({ inode }) => inode).filter((inode) => namespace.inode(volume, inode)?.tree === from);
    const upTo = entries.at(-1)?.cookie ?? after;
    const last = entries.length < entriesAtOnce;
    await this.#withLeases(volume, changing, async () => {
      await leader.committer.execute({ kind: "countTree", volume, tree, directory, upTo, last });
    });
  }

  // --- leases ---

  #withLeases<T>(volume: number, inodes: readonly number[], work: () => Promise<T>): Promise<T> {
    return this.#alone(() => this.#holding(volume, inodes, "exclusive", work));
  }

  async #holding<T>(
    volume: number,
    inodes: readonly number[],
    mode: "shared" | "exclusive",
    work: () => Promise<T>,
  ): Promise<T> {
    const { leases } = this.#parts.holdings.of(volume);
    const taken: { inode: number; grant: number }[] = [];
    try {
      for (const inode of [...new Set(inodes)].sort((left, right) => left - right)) {
        taken.push({ inode, grant: await leases.acquire(ownSession, inode, mode, 0) });
      }
      return await work();
    } finally {
      for (const { inode, grant } of taken) leases.release(ownSession, inode, grant);
    }
  }

  /** After whoever is at it now. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work, work);
    this.#last = next.catch(() => {});
    return next;
  }
}

const refusals: Partial<Record<ErrnoName, () => BrineError>> = {
  ENOENT: () => new BrineError("notFound", "there is no such quota", { advice: 'see "brine quota list"' }),
  ENOTDIR: () => new BrineError("invalid", "a quota is for a directory, not for a file"),
  EBUSY: () =>
    new BrineError("busy", "another directory of the volume is still being counted", {
      advice: 'try again when "brine quota list" doesn\'t say "counting" any more',
    }),
  EINVAL: () =>
    new BrineError("invalid", "quotas of directories can't be within each other", {
      advice: 'the quota of a whole volume is set without a path; see "brine quota list"',
    }),
};
