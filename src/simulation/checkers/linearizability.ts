/**
 * Is the history linearizable: does each operation take effect in one moment between its call and its return, so that all
 * outcomes are those of the model?
 *
 * Trying all orders of a whole history is hopeless. But only the operations that are under way at the same time can
 * change places, and they are few. So the checker follows the history as it happens (just-in-time linearization, Lowe,
 * "Testing for linearizability", 2017):
 *
 * 1. A configuration is a possible present: a state of the model, and for those operations under way that have taken effect
 *    already, the outcome they must then return.
 * 2. A call adds an operation under way, and changes no configuration.
 * 3. A return: in each configuration, the operation must have taken effect by now. Where it has, its outcome is compared.
 *    Where it hasn't, any of those under way may take effect first, in any order, then it does; all ways are tried that
 *    can make a difference (conflicts.ts: what commutes with all that follows can take effect later as well).
 *    Configurations in which the outcome can't be are dropped; equal ones are merged.
 * 4. When none is left, no order explains what was seen: violation.
 *
 * A client may lose what it has answered, if it dies or its session ends (P3). So a configuration also says which changes
 * nothing has proved durable (unsynced-log.ts), and the end of a session is one more thing that may take effect at some
 * time: it leaves any part of those changes that P3 allows, each in a configuration of its own. What others see later
 * decides which it was.
 *
 * An operation of a client that died has no return: it takes effect before its session ends, whole or torn, or never.
 * A write takes effect with one length, which is the whole one unless another is told (hindsight.ts, short-writes.ts).
 */
import { describeOperation, describeOutcome, type FileOperation, type Outcome } from "../file-operation.ts";
import type { Model } from "../model.ts";
import { executeTorn } from "../model-data.ts";
import { dropHolds, execute, type Invocation } from "../model-operations.ts";
import { anything, match } from "../model-prediction.ts";
import type { TornWrite } from "../tagged-data.ts";
import {
  type Configuration,
  isKnown,
  keep,
  lossName,
  startingFrom,
  unsyncedNumbers,
  without,
} from "./configuration.ts";
import { type Candidate, endFootprint, footprint, relevant, withLeases } from "./conflicts.ts";
import { nextOfCopy } from "./copying.ts";
import { isCrowded } from "./crowd.ts";
import { Knowledge, proved, type SessionEnd, syncedBy } from "./proofs.ts";
import { type Length, lengthsOf, nothingShortens, type Shortening } from "./short-writes.ts";
import { changesNothing, leasedInodes } from "./touched.ts";
import { Undecided, Violation } from "./violation.ts";

/** More possibilities than this, and the history can't be judged in bearable time: the workload is too wild. */
const configurationsMax = 10_000;

export class LinearizabilityChecker {
  readonly #shortening: Shortening;
  readonly #underWay = new Map<number, Invocation>();
  /** Those of them that will never return. */
  readonly #abandoned = new Set<number>();
  readonly #holdless = new Set<string>();
  /** By client: the end of its session that may come at any time, or has come already. */
  readonly #ends = new Map<string, SessionEnd>();
  /** By write, or copy, that may not be whole. */
  readonly #lengths = new Map<number, Length>();
  readonly #known: Knowledge;
  #configurations: readonly Configuration[];
  #most = 1;
  #events = 0;
  #endCount = 0;

  /** @param from what the file system is at first; or a checker, and this one goes on from where that is */
  constructor(from: Model | LinearizabilityChecker, shortening: Shortening = nothingShortens) {
    if (!(from instanceof LinearizabilityChecker)) {
      this.#shortening = shortening;
      this.#known = new Knowledge();
      this.#configurations = [startingFrom(from)];
      return;
    }
    this.#shortening = from.#shortening;
    this.#known = new Knowledge(from.#known);
    this.#underWay = new Map(from.#underWay);
    this.#abandoned = new Set(from.#abandoned);
    this.#holdless = new Set(from.#holdless);
    this.#ends = new Map(from.#ends);
    this.#lengths = new Map(from.#lengths);
    this.#configurations = from.#configurations;
    [this.#most, this.#events, this.#endCount] = [from.#most, from.#events, from.#endCount];
  }

  /** The states that the file system may be in: for choosing what to do next, not for judging. */
  get possibleModels(): [Model, ...Model[]] {
    return this.#configurations.map(({ model }) => model) as [Model, ...Model[]];
  }

  /** The greatest number of configurations there were. */
  get configurationsMost(): number {
    return this.#most;
  }

  /** With one more operation under way, the possibilities could become too many to follow. */
  get isCrowded(): boolean {
    const atOnce = this.#underWay.size - this.#abandoned.size;
    return isCrowded({ atOnce, open: this.openCount, configurations: this.#configurations.length });
  }

  /** Operations of dead clients whose fate is open, and sessions that may have ended or not. */
  get openCount(): number {
    return this.#abandoned.size + this.#ends.size;
  }

  /** Changes that nothing has proved durable. */
  get unsyncedCount(): number {
    return Math.max(...this.#configurations.map(({ log }) => log.size));
  }

  called(id: number, client: string, operation: FileOperation): void {
    this.#underWay.set(id, { id, client, operation });
    this.#known.called.set(id, this.#tick());
  }

  /** Throws Violation if no order of operations explains the outcome. */
  returned(id: number, outcome: Outcome): void {
    const invocation = this.#returning(id, outcome);
    const reasons = new Set<string>();
    const left = new Map<string, Configuration>();
    this.#known.returned.set(id, this.#tick());
    for (const configuration of this.#allWith(id)) {
      const prediction = configuration.effective.get(id)!;
      const model = match(configuration.model, prediction, outcome);
      if (typeof model === "string") {
        reasons.add(model);
        continue;
      }
      const after = proved({ ...configuration, model }, invocation, outcome, this.#known);
      if (after === undefined) reasons.add("changes were lost, and nobody has been told");
      else keep(left, without(after, id));
    }
    this.#underWay.delete(id);
    if (left.size === 0) {
      const what = `${invocation.client}: ${describeOperation(invocation.operation)} → ${describeOutcome(outcome)}`;
      const why = reasons.size > 0 ? [...reasons].slice(0, 5).join("\n    or ") : "it can't have taken effect so";
      throw new Violation("not linearizable", `${what}\n    ${why}`);
    }
    this.#replace(left);
  }

  #returning(id: number, outcome: Outcome): Invocation {
    const invocation = this.#underWay.get(id)!;
    if (outcome.kind === "written" && this.#lengths.get(id) === "any") this.#lengths.delete(id);
    if (invocation.operation.kind !== "copyRange" || outcome.kind !== "written") return invocation;
    const told = { ...invocation, operation: { ...invocation.operation, copiedBytes: outcome.length } };
    this.#underWay.set(id, told);
    return told;
  }

  /** The operation was ended without telling whether it took effect (a full disk): by now it has, whole or torn, or never will. */
  failedSomehow(id: number): void {
    const { operation } = this.#underWay.get(id)!;
    const handle = syncedBy(operation);
    if (handle !== undefined) this.#known.told.add(handle);
    this.#known.returned.set(id, this.#tick());
    this.#abandoned.add(id);
    this.#mayHaveHappened(id);
  }

  /** It failed for what the model doesn't know (a quota), and has had no effect. Throws Violation if others have seen one. */
  refused(id: number): void {
    const { client, operation } = this.#underWay.get(id)!;
    const left = this.#configurations.filter(({ effective }) => !effective.has(id));
    if (left.length === 0)
      throw new Violation("what is refused has no effect", `${client}: ${describeOperation(operation)}`);
    this.#known.returned.set(id, this.#tick());
    this.#underWay.delete(id);
    this.#configurations = left;
  }

  /** Neither does the operation return, nor is it over. */
  abandon(id: number): void {
    this.#abandoned.add(id);
    if (changesNothing(this.#underWay.get(id)!.operation)) {
      this.#mayHaveHappened(id);
      return;
    }
    // What it would have returned doesn't matter any more: more states are equal.
    this.#map((configuration) => {
      const { effective } = configuration;
      return effective.has(id)
        ? { ...configuration, effective: new Map([...effective, [id, anything]]) }
        : configuration;
    });
  }

  /** The client's process is gone. Its session ends at some time. */
  clientDied(client: string): void {
    this.#holdsNothing(client);
    const end = this.#ends.get(client);
    if (end?.survived) {
      // Its session may have ended before it died, or it ends now.
      this.#map((configuration) => without(configuration, end.id));
    }
    this.#endCount += 1;
    this.#ends.set(client, { id: -this.#endCount, client, survived: false });
  }

  /** The client lives, but its session may have ended, or may end. */
  sessionAtRisk(client: string): void {
    this.#holdsNothing(client);
    if (this.#ends.has(client)) return;
    this.#endCount += 1;
    const end = { id: -this.#endCount, client, survived: true };
    this.#ends.set(client, end);
    this.#known.survived.push({ ...end, possibleFrom: this.#tick() });
  }

  /** The client's session was at risk and has not ended. Throws Violation if only its end explains what was seen. */
  sessionGoesOn(client: string): void {
    const end = this.#ends.get(client);
    if (end === undefined) return;
    this.#ends.delete(client);
    this.#holdless.delete(client);
    const left = new Map<string, Configuration>();
    for (const configuration of this.#configurations) {
      if (!configuration.effective.has(end.id)) keep(left, configuration);
    }
    if (left.size === 0) throw new Violation("sessions that live lose nothing", client);
    this.#replace(left);
  }

  /** The client's session has ended by now. What it had under way when it died has happened, or never will. */
  sessionEnded(client: string): void {
    const end = this.#ends.get(client);
    if (end === undefined) return;
    for (const { id } of this.abandonedBy(client)) this.#mayHaveHappened(id);
    const left = new Map<string, Configuration>();
    for (const configuration of this.#configurations) {
      const ended = configuration.effective.has(end.id) ? [configuration] : this.#cut(configuration, end);
      for (const one of ended) keep(left, without(one, end.id));
    }
    this.#ends.delete(client);
    if (end.survived) this.#holdless.delete(client);
    this.#replace(left);
  }

  /** All that the client had answered by now is durable: it says so, and the leader does. */
  nothingUnsynced(client: string): void {
    const now = this.#tick();
    this.#map((configuration) => {
      const { log, model } = configuration;
      return { ...configuration, log: log.synced(client, undefined, now, model, this.#known) };
    });
  }

  /** These operations, which have returned, are durable. */
  durable(ids: ReadonlySet<number>): void {
    this.#map((configuration) => {
      const { log, model } = configuration;
      const left = log.durable(ids, model, this.#known);
      return left === log ? configuration : { ...configuration, log: left };
    });
  }

  /** Numbers of the inodes that the client has changed without proof that it will stay so. */
  unsyncedInodes(client: string): number[] {
    return unsyncedNumbers(this.#configurations, client);
  }

  /** Abandoned operations of a client: they may take effect at any time. */
  abandonedBy(client: string): Invocation[] {
    return [...this.#abandoned].map((id) => this.#underWay.get(id)!).filter((one) => one.client === client);
  }

  /** A write or a copy that may not be whole: for what takes effect from now on. */
  hasLength(id: number, length: Length): void {
    this.#lengths.set(id, length);
  }

  /** The client's handles are lost, or may be lost at any time from now on: they hold nothing. */
  #holdsNothing(client: string): void {
    this.#holdless.add(client);
    this.#map((configuration) => ({ ...configuration, model: dropHolds(configuration.model, client) }));
  }

  #mayHaveHappened(id: number): void {
    const left = new Map<string, Configuration>();
    const effective = changesNothing(this.#underWay.get(id)!.operation) ? [] : this.#allWith(id);
    for (const configuration of [...this.#configurations, ...effective]) keep(left, without(configuration, id));
    this.#underWay.delete(id);
    this.#abandoned.delete(id);
    this.#replace(left);
  }

  #tick(): number {
    this.#events += 1;
    return this.#events;
  }

  #map(change: (configuration: Configuration) => Configuration): void {
    const left = new Map<string, Configuration>();
    for (const configuration of this.#configurations) keep(left, change(configuration));
    this.#replace(left);
  }

  #replace(configurations: ReadonlyMap<string, Configuration>): void {
    if (configurations.size > configurationsMax) throw new Undecided(configurations.size);
    this.#configurations = [...configurations.values()];
    this.#most = Math.max(this.#most, configurations.size);
  }

  /** All configurations that can follow from the present ones by effects, the last of them that of `id`. */
  #allWith(id: number): Configuration[] {
    const seen = new Map<string, Configuration>();
    const found: Configuration[] = [];
    const waiting: Configuration[] = [];
    const visit = (configuration: Configuration) => {
      if (keep(seen, configuration)) (configuration.effective.has(id) ? found : waiting).push(configuration);
    };
    for (const configuration of this.#configurations) visit(configuration);
    for (let configuration = waiting.pop(); configuration !== undefined; configuration = waiting.pop()) {
      const candidates = this.#candidates(configuration);
      const target = candidates.find((candidate) => candidate.id === id)!;
      for (const candidate of relevant(target, candidates)) for (const next of candidate.effects()) visit(next);
      if (seen.size > 4 * configurationsMax) throw new Undecided(seen.size);
    }
    return found;
  }

  /** What may take effect next. */
  #candidates(configuration: Configuration): (Candidate & { effects(): Configuration[] })[] {
    const { model, effective, log } = configuration;
    const operations = [...this.#underWay.values()].filter(({ id }) => !effective.has(id));
    const ends = [...this.#ends.values()].filter(({ id }) => !effective.has(id));
    const asked = operations.map((invocation) => {
      const print = footprint(model, invocation);
      const leases = ends.length === 0 ? [] : leasedInodes(model, invocation, { kind: "done" });
      return {
        id: invocation.id,
        footprint: withLeases(print, invocation.client, leases),
        effects: () => this.#effects(configuration, invocation),
      };
    });
    const ending = ends.map((end) => ({
      id: end.id,
      footprint: endFootprint(model, end.client, log.changedBy(end.client)),
      effects: () => this.#cut(configuration, end),
    }));
    return [...asked, ...ending];
  }

  /** The operation takes effect, or a step of it. */
  #effects(configuration: Configuration, invocation: Invocation): Configuration[] {
    const { operation, id } = invocation;
    if (!isKnown(configuration.model, operation)) return [];
    const how = { known: this.#lengths.get(id), shortening: this.#shortening };
    const effectsOf = (step: FileOperation) => this.#effectsOf(configuration, { ...invocation, operation: step });
    if (operation.kind === "copyRange") return nextOfCopy(configuration, { ...invocation, operation }, how, effectsOf);
    if (operation.kind !== "write") return effectsOf(operation);
    return lengthsOf(configuration.model, operation, how).flatMap((length) => effectsOf({ ...operation, length }));
  }

  /** In one piece. */
  #effectsOf(configuration: Configuration, invocation: Invocation): Configuration[] {
    const { model, effective } = configuration;
    const { client, id } = invocation;
    const execution = execute(model, invocation);
    // Who waits for a lock has not been served yet.
    if (execution.prediction.kind === "failed" && execution.prediction.errnos.length === 0) return [];
    const after = this.#holdless.has(client) ? dropHolds(execution.model, client) : execution.model;
    const prediction = this.#abandoned.has(id) ? anything : execution.prediction;
    const leased = leasedInodes(model, invocation, execution.prediction);
    const log = configuration.log.seen(invocation, leased, footprint(model, invocation), model, this.#known);
    const next = (changed: Model, torn?: TornWrite): Configuration => ({
      ...configuration,
      model: changed,
      log: changed === model ? log : log.append(model, changed, invocation, this.#known, torn),
      effective: new Map([...effective, [id, prediction]]),
    });
    if (!this.#abandoned.has(id) || this.#ends.has(client)) return [next(after)];
    const calledAt = this.#known.called.get(id)!;
    const write = { chain: `failed ${id}`, calledAt, returnedAt: undefined, isOrdered: true };
    const torn = executeTorn(model, invocation, write);
    return torn === undefined ? [next(after)] : [next(after), next(torn, write)];
  }

  /** The session ends: all that can be left. */
  #cut(configuration: Configuration, end: SessionEnd): Configuration[] {
    const { model, log, losses, copies } = configuration;
    const { client, id, survived } = end;
    // What had not taken effect when the session of a dead client ended never will.
    const never = survived ? [] : this.abandonedBy(client).filter((one) => !configuration.effective.has(one.id));
    const effective = new Map([...configuration.effective, [id, anything]]);
    for (const one of never) effective.set(one.id, anything);
    return log.cuts(client, `${id}`, model, this.#known).map((remains) => ({
      model: [...this.#holdless].reduce(dropHolds, remains.model),
      log: remains.log,
      effective,
      copies,
      losses: survived ? new Map([...losses, [lossName(client, id), remains.lost]]) : losses,
    }));
  }
}
