/**
 * Everything that waits in the cluster, with a name for whom it waits (promise P7): what clients and stores say of
 * themselves, and what the leader knows better. A client knows that it waits for a lease; the leader, who has it.
 */
import type { LogFields } from "../../platform/logger.ts";
import { type ClusterWait, clusterWaitsMax } from "../../wire/catalogue/admin.ts";
import { readWaits } from "../../wire/catalogue/watch.ts";
import type { OwnIdentity } from "../admin.ts";
import type { Holdings } from "../holdings.ts";
import type { Leader } from "../leader.ts";
import type { Sessions } from "../sessions.ts";
import type { Wait } from "../waits.ts";
import type { Answers, Asked, Asking } from "./asking.ts";
import { pathText } from "./paths.ts";

export interface ClusterWaitsParts {
  readonly leader: Leader;
  readonly own: OwnIdentity;
  readonly asking: Asking;
  readonly sessions: Sessions;
  readonly holdings: Holdings;
}

/** A wait, with what tells whether somebody is concerned. */
export interface FoundWait extends ClusterWait {
  readonly volumeNumber: number;
  /** The inode whose lease it waits for; 0: it doesn't. */
  readonly leaseInode: number;
  /** The store where it waits; 0: elsewhere. */
  readonly store: number;
}

type ClientAnswers = Answers<{ waits: { operation: string; inode: number; waitsFor: string; forMs: number }[] }>;

export class ClusterWaits {
  readonly #parts: ClusterWaitsParts;

  constructor(parts: ClusterWaitsParts) {
    this.#parts = parts;
  }

  /** The longest first. */
  async read(): Promise<{ waits: FoundWait[]; silent: string[] }> {
    const { asking } = this.#parts;
    const answered = await asking.ask([...asking.clients(), ...asking.stores()], readWaits, {});
    const told = this.#told(answered);
    const waits = [...told, ...this.#own(told)];
    waits.sort((left, right) => right.forMs - left.forMs);
    return { waits: waits.slice(0, clusterWaitsMax), silent: answered.silent };
  }

  /** What clients and stores say. */
  #told({ answers }: ClientAnswers): FoundWait[] {
    return answers.flatMap(({ from, body }) =>
      body.waits.map(({ operation, inode, waitsFor, forMs }) => {
        const leaseInode = Number(/^lease \(\w+\) on inode (\d+)/.exec(waitsFor)?.[1] ?? 0);
        return {
          role: from.role,
          who: from.who,
          session: from.session,
          operation: this.#named(operation),
          ...this.#place(from.volume, inode),
          waitsFor: cut(this.#withHolders(from, inode, waitsFor, leaseInode)),
          forMs,
          leaseInode,
          store: from.store,
        };
      }),
    );
  }

  /** Who has a lease or an advisory lock now; when the client was told to wait, it may have been somebody else. */
  #withHolders({ volume, session }: Asked, inode: number, waitsFor: string, leaseInode: number): string {
    if (waitsFor.startsWith("advisory lock")) {
      const names = volume === 0 ? [] : this.#parts.holdings.of(volume).locks.heldBy(session, inode);
      return names.length === 0 ? waitsFor : `advisory lock, held by ${names.join("; ")}`;
    }
    const holders = leaseInode === 0 ? "" : this.#holders(volume, leaseInode, session);
    return holders === "" ? waitsFor : `${waitsFor}, ${holders}`;
  }

  /** Stores know sessions by their numbers only. */
  #named(text: string): string {
    return text.replace(/session (\d+)/, (words, session) => {
      const host = this.#parts.sessions.get(Number(session))?.host;
      return host === undefined ? words : `${host} (${words})`;
    });
  }

  /** What the leader knows, without the waits for leases that their clients have told of. */
  #own(told: readonly FoundWait[]): FoundWait[] {
    const known = new Set(told.map(({ session, leaseInode }) => `${session} ${leaseInode}`));
    return this.#parts.leader.waits
      .list()
      .map((wait) => this.#ownWait(wait, wait.describe()))
      .filter(({ session, leaseInode }) => leaseInode === 0 || !known.has(`${session} ${leaseInode}`));
  }

  #ownWait({ what, sinceMs }: Wait, fields: LogFields): FoundWait {
    const { leader, own, sessions } = this.#parts;
    const forMs = Math.max(0, Math.round(leader.lifetime.nowMs() - sinceMs));
    const base = { session: 0, ...this.#place(0, 0), forMs, leaseInode: 0, store: 0 };
    if (what === "lease") {
      const session = Number(fields.session);
      const inode = Number(fields.inode);
      const volume = sessions.get(session)?.volume ?? 0;
      const holders = this.#holders(volume, inode, session);
      const waitsFor = cut(`lease (${fields.mode}) on inode ${inode}, ${holders === "" ? "in its turn" : holders}`);
      const who = String(fields.client);
      return {
        ...base,
        ...this.#place(volume, inode),
        role: "client",
        who,
        session,
        operation: "lease",
        waitsFor,
        leaseInode: inode,
      };
    }
    if (what === "clients to come back") {
      const missing = sessions.all().filter(({ isKnown }) => !isKnown);
      const names = missing.map(({ id, host }) => `${host} (session ${id})`).join(", ");
      const waitsFor = `clients that have not come back since the leader's start: ${names}`;
      return { ...base, role: "client", who: String(fields.client), operation: "lease", waitsFor: cut(waitsFor) };
    }
    const details = Object.entries(fields).map(([name, value]) => `${name} ${value}`);
    const waitsFor = details.length === 0 ? what : `${what}: ${details.join(", ")}`;
    return { ...base, role: "leader", who: own.address, operation: "metadata", waitsFor: cut(waitsFor) };
  }

  /** `held by host (session 3), exclusive for 1.2 s, asked back`. */
  #holders(volume: number, inode: number, besides: number): string {
    const { leader, holdings, sessions } = this.#parts;
    const nowMs = leader.lifetime.nowMs();
    const others = holdings
      .of(volume)
      .leases.holders(inode)
      .filter(({ session }) => session !== besides);
    const texts = others.map(({ session, mode, sinceMs, recalledFor }) => {
      const who = `${sessions.get(session)?.host ?? "?"} (session ${session})`;
      const asked = recalledFor === undefined ? "" : recalledFor === "shared" ? ", asked to share it" : ", asked back";
      return `${who}, ${mode} for ${((nowMs - sinceMs) / 1000).toFixed(1)} s${asked}`;
    });
    return texts.length === 0 ? "" : `held by ${texts.join("; ")}`;
  }

  #place(volume: number, inode: number): { volume: string; volumeNumber: number; inode: number; path: string } {
    const { namespace } = this.#parts.leader;
    const name = namespace.volume(volume)?.name ?? "";
    const path = inode === 0 || volume === 0 ? "" : pathText(namespace.pathOf(volume, inode));
    return { volume: name, volumeNumber: volume, inode, path };
  }
}

/** To what fits into the catalogue's bound, whatever the bytes of a character. */
function cut(text: string): string {
  return text.slice(0, 500);
}
