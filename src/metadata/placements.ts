/**
 * Where the files of volumes go: placement rules and failure domains, as operators change them and clients read them.
 *
 * Which pool a file belongs to is decided by the client that makes it. So a change is over when all clients of the volume have
 * read it; one that can't be told is cut off, and reads it with its next connection.
 */
import { BrineError } from "../errors/brine-error.ts";
import { errno } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import { inSyncMinOf } from "../namespace/in-sync-min.ts";
import type { PlacementRecord } from "../namespace/model.ts";
import { rulesMax } from "../namespace/model.ts";
import { asksTheSame, labelsText } from "../namespace/store-labels.ts";
import { checkPattern } from "../placement/path-rules.ts";
import { stays } from "../placement/plan-moves.ts";
import { findShortfalls, shortfallOf } from "../placement/shortfalls.ts";
import { type PlacementAnswer, pathStepsMax, placementChanged } from "../wire/catalogue/leader.ts";
import type { RulesChange, RulesShown, ShownRule } from "../wire/catalogue/placement.ts";
import type { Groups } from "./groups.ts";
import type { Leader } from "./leader.ts";
import { checkedLabelKey, volumeNamed } from "./named.ts";
import type { Session, Sessions } from "./sessions.ts";
import { tellsNames } from "./told.ts";

export interface PlacementsParts {
  readonly leader: Leader;
  readonly groups: Groups;
  readonly sessions: Sessions;
}

export class Placements {
  readonly #parts: PlacementsParts;

  constructor(parts: PlacementsParts) {
    this.#parts = parts;
  }

  // --- for clients ---

  /** See readPlacement. */
  read({ volume }: Session): PlacementAnswer {
    const { namespace } = this.#parts.leader;
    const record = namespace.volume(volume)!;
    const groups = namespace.groups().filter((group) => group.volume === volume);
    return {
      placement: namespace.placement(volume),
      groups: groups.map((one) => ({ group: one.group, pool: one.pool, inSyncMin: inSyncMinOf(one, record) })),
      slowStores: namespace.stores().flatMap(({ store, isCalledSlow }) => (isCalledSlow ? [store] : [])),
    };
  }

  /** See readPath. Errors: FileError ENOENT. */
  path(
    { volume, user }: Session,
    inode: number,
  ): {
    steps: { inode: number; parent: number; cookie: number; name: string }[];
  } {
    const { namespace } = this.#parts.leader;
    const root = namespace.volume(volume)?.root;
    const steps: { inode: number; parent: number; cookie: number; name: string }[] = [];
    for (let at = inode; at !== root && steps.length < pathStepsMax; ) {
      const record = namespace.inode(volume, at);
      if (record?.attributes.type !== "directory" || record.attributes.linkCount === 0) throw new FileError("ENOENT");
      const name = namespace.entryName(volume, record.parent, record.parentCookie);
      if (name === undefined || !tellsNames(user, namespace.inode(volume, record.parent)))
        throw new FileError("ENOENT");
      steps.push({ inode: at, parent: record.parent, cookie: record.parentCookie, name });
      at = record.parent;
    }
    return { steps };
  }

  // --- for operators ---

  /** Errors: notFound. */
  show(name: string): RulesShown {
    const { volume, replicas } = volumeNamed(this.#parts.leader.namespace, name);
    const placement = this.#parts.leader.namespace.placement(volume);
    const { failureDomain } = placement;
    const rules = rulesOf(placement, replicas);
    const stores = this.#stores();
    return {
      failureDomain,
      rules,
      shortfalls: rules.map((rule) => shortfallOf({ ...rule, failureDomain }, stores) ?? ""),
    };
  }

  /** Errors: notFound, invalid, busy. */
  async change({ volume: name, change }: RulesChange): Promise<RulesShown> {
    const { leader, groups } = this.#parts;
    const { volume, replicas, inSyncMin } = volumeNamed(this.#parts.leader.namespace, name);
    const before = leader.namespace.placement(volume);
    const failureDomain = change.kind === "failureDomain" ? checkedLabelKey(change.key) : before.failureDomain;
    const rules = changedRules(rulesOf(before, replicas), change);
    const fewest = Math.min(replicas, ...rules.map((rule) => rule.replicas));
    if (fewest < inSyncMin) throw tooFewCopies(name, fewest, inSyncMin);
    const pools = rules
      .filter((rule) => !before.pools.some((pool) => asksTheSame(pool, rule)))
      .map((rule) => ({ replicas: rule.replicas, labels: rule.labels, groups: this.#choose(rule, failureDomain) }));
    const result = await leader.committer.execute({
      kind: "setPlacement",
      volume,
      version: before.version,
      failureDomain,
      rules,
      pools,
    });
    if (result.kind !== "done") throw refusalOf(name, result);
    leader.log.info("placement changed", { volume: name, rules: rules.length, failureDomain });
    await groups.made();
    await this.tellClients(volume);
    return this.show(name);
  }

  /**
   * Resolves when all clients have read what is committed by now. One that can't be told may go on by what it knows until it comes
   * back, and then reads it, or until its session has ended: it is waited for.
   */
  async whenAllKnow(volume: number): Promise<void> {
    const { leader, sessions } = this.#parts;
    const { lifetime, timeouts } = leader;
    const unaware = new Set(sessions.all().filter((session) => session.volume === volume));
    const wait = leader.waits.begin("clients to know a volume's setting", () => ({
      volume,
      clients: [...unaware].map(({ host }) => host).join(", "),
    }));
    try {
      for (;;) {
        await Promise.all([...unaware].map((session) => this.#tell(session, () => unaware.delete(session))));
        for (const session of unaware) if (sessions.get(session.id) !== session) unaware.delete(session);
        if (unaware.size === 0) return;
        await lifetime.sleep(timeouts.retryMs);
        if (lifetime.stopped) throw new BrineError("notServing", "the metadata server stops");
      }
    } finally {
      wait.end();
    }
  }

  /** Sentences for `brine status`: what can't be met. */
  get problems(): string[] {
    const { namespace } = this.#parts.leader;
    const names = new Map(namespace.volumes().map(({ volume, name }) => [volume, name]));
    return findShortfalls(namespace.groups(), this.#stores()).map(
      ({ volume, text }) => `Volume ${names.get(volume)}: ${text}. Label or add stores, or ask for less.`,
    );
  }

  /** Those that keep what they have, or take more. */
  #stores() {
    return this.#parts.groups.moves.planned().filter(({ role }) => stays(role));
  }

  #choose({ replicas, labels }: ShownRule, failureDomain: string) {
    try {
      return this.#parts.groups.choose({ replicas, labels, failureDomain });
    } catch (error) {
      if (!(error instanceof BrineError) || error.code !== "invalid" || labels.length === 0) throw error;
      throw new BrineError("invalid", `${error.message} with ${labelsText(labels)} that take groups and are online`, {
        advice:
          '"brine store list" shows labels; "brine store label" sets them, "brine store add" has a spare one take groups',
      });
    }
  }

  /** Resolves when those that are connected have read what is committed by now, or were cut off. @param volume of all if undefined */
  async tellClients(volume: number | undefined): Promise<void> {
    const all = this.#parts.sessions.all();
    const clients = volume === undefined ? all : all.filter((session) => session.volume === volume);
    await Promise.all(clients.map((session) => this.#tell(session, () => {})));
  }

  /** Never rejects: who doesn't read it is cut off. */
  async #tell({ peer }: Session, known: () => void): Promise<void> {
    if (peer === undefined) return;
    try {
      const timeoutMs = this.#parts.leader.timeouts.clientAnswerMs;
      await peer.request(placementChanged, {}, { timeoutMs, urgent: true });
      known();
    } catch {
      peer.close("it did not read the placement rules");
    }
  }
}

/** The rules of a volume with what their pools ask for. */
export function rulesOf({ pools, rules }: PlacementRecord, replicas: number): ShownRule[] {
  return rules.map(({ syntax, pattern, pool }) => {
    const target = pools.find((one) => one.pool === pool) ?? { replicas, labels: [] };
    return { syntax, pattern, replicas: target.replicas, labels: target.labels };
  });
}

/** Errors: invalid. */
function changedRules(rules: readonly ShownRule[], change: RulesChange["change"]): ShownRule[] {
  const changed = [...rules];
  const at = (position: number): number => {
    if (position >= 1 && position <= rules.length) return position - 1;
    throw new BrineError("invalid", `there is no rule ${position}: there are ${rules.length}`, {
      advice: '"brine volume rules" lists them',
    });
  };
  switch (change.kind) {
    case "add":
      if (rules.length === rulesMax) throw new BrineError("invalid", `a volume has at most ${rulesMax} rules`);
      checkPattern(change.rule);
      checkTarget(change.rule);
      changed.splice(change.position === 0 ? rules.length : at(change.position), 0, change.rule);
      return changed;
    case "remove":
      changed.splice(at(change.position), 1);
      return changed;
    case "move": {
      const to = at(change.to);
      const [moved] = changed.splice(at(change.position), 1);
      changed.splice(to, 0, moved!);
      return changed;
    }
    case "failureDomain":
      return changed;
  }
}

function checkTarget({ replicas, labels }: ShownRule): void {
  if (replicas < 1 || replicas > 8) throw new BrineError("invalid", `${replicas} copies: ask for 1 to 8`);
  for (const { key, value } of labels) {
    checkedLabelKey(key);
    if (value === "") throw new BrineError("invalid", `the label ${key} has no value`);
  }
  if (new Set(labels.map(({ key }) => key)).size < labels.length) {
    throw new BrineError("invalid", "a store has one value of a label: name each key once");
  }
}

function tooFewCopies(name: string, copies: number, inSyncMin: number): BrineError {
  return new BrineError(
    "invalid",
    `volume "${name}" takes writes with ${inSyncMin} copies in sync or more, a rule makes ${copies}`,
    {
      advice: `let rules make ${inSyncMin} copies or more, or lower it: brine volume set ${name} --in-sync-min ${copies}`,
    },
  );
}

function refusalOf(name: string, result: { kind: string; errno?: number }): BrineError {
  if (result.errno === errno.ESTALE)
    return new BrineError("busy", `the rules of volume "${name}" were changed meanwhile`, { advice: "try it again" });
  if (result.errno === errno.ENOSPC)
    return new BrineError("invalid", "there are no groups left for another kind of rule", {
      advice: "let it ask for the same copies and labels as an earlier one",
    });
  return new BrineError("invalid", `the rules of volume "${name}" can't be changed: ${JSON.stringify(result)}`);
}
