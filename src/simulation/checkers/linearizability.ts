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
 * An operation of a client that died has no return: it may take effect at any later time, whole or torn, or never, until
 * `settle` is called, when its messages can't be on their way any more and its session has been fenced.
 */
import { describeOperation, describeOutcome, type FileOperation, type Outcome } from "../file-operation.ts";
import type { Model } from "../model.ts";
import { dropHolds, type Execution, execute, executeTorn, type Invocation } from "../model-operations.ts";
import { match, type Prediction, predictionKey } from "../model-prediction.ts";
import { relevant } from "./conflicts.ts";
import { Undecided, Violation } from "./violation.ts";

interface Configuration {
  readonly model: Model;
  /** Operations under way that have taken effect. */
  readonly effective: ReadonlyMap<number, Prediction>;
}

const anything: Prediction = { kind: "any" };

/** More possibilities than this, and the history can't be judged in bearable time: the workload is too wild. */
const configurationsMax = 10_000;

export class LinearizabilityChecker {
  readonly #underWay = new Map<number, Invocation>();
  /** Those of them that will never return. */
  readonly #abandoned = new Set<number>();
  readonly #holdless = new Set<string>();
  #configurations: Configuration[];
  #most = 1;

  constructor(model: Model) {
    this.#configurations = [{ model, effective: new Map() }];
  }

  /** A state that the file system may be in: for choosing what to do next, not for judging. */
  get likelyModel(): Model {
    return this.#configurations[0]!.model;
  }

  /** The greatest number of configurations there were. */
  get configurationsMost(): number {
    return this.#most;
  }

  /** Operations of dead clients whose fate is open. */
  get abandonedCount(): number {
    return this.#abandoned.size;
  }

  called(id: number, client: string, operation: FileOperation): void {
    this.#underWay.set(id, { id, client, operation });
  }

  /** Throws Violation if no order of operations explains the outcome. */
  returned(id: number, outcome: Outcome): void {
    const invocation = this.#underWay.get(id)!;
    const reasons = new Set<string>();
    const left = new Map<string, Configuration>();
    for (const configuration of this.#allWith(id)) {
      const prediction = configuration.effective.get(id)!;
      const model = match(configuration.model, prediction, outcome);
      if (typeof model === "string") reasons.add(model);
      else keep(left, { model, effective: without(configuration.effective, id) });
    }
    this.#underWay.delete(id);
    if (left.size === 0) {
      const what = `${invocation.client}: ${describeOperation(invocation.operation)} → ${describeOutcome(outcome)}`;
      throw new Violation("not linearizable", `${what}\n    ${[...reasons].slice(0, 5).join("\n    or ")}`);
    }
    this.#replace(left);
  }

  /** The operation was ended without telling whether it took effect (a full disk): by now it has, whole or torn, or never will. */
  failedSomehow(id: number): void {
    this.#abandoned.add(id);
    this.#mayHaveHappened(id);
  }

  /** Neither does the operation return, nor is it over. */
  abandon(id: number): void {
    this.#abandoned.add(id);
    if (changesNothing(this.#underWay.get(id)!.operation)) {
      this.#mayHaveHappened(id);
      return;
    }
    // What it would have returned doesn't matter any more: more states are equal.
    const left = new Map<string, Configuration>();
    for (const { model, effective } of this.#configurations) {
      const forgotten = effective.has(id) ? new Map([...effective, [id, anything]]) : effective;
      keep(left, { model, effective: forgotten });
    }
    this.#replace(left);
  }

  /** The client's handles are lost, or may be lost at any time from now on: they hold nothing. */
  holdsNothing(client: string): void {
    this.#holdless.add(client);
    const left = new Map<string, Configuration>();
    for (const { model, effective } of this.#configurations) {
      keep(left, { model: dropHolds(model, client), effective });
    }
    this.#replace(left);
  }

  /** Abandoned operations of a client: they may take effect at any time. */
  abandonedBy(client: string): Invocation[] {
    return [...this.#abandoned].map((id) => this.#underWay.get(id)!).filter((one) => one.client === client);
  }

  /** Abandoned operations of a client that have not taken effect by now never will. */
  settle(client: string): void {
    for (const { id } of this.abandonedBy(client)) this.#mayHaveHappened(id);
  }

  /** A write that returned has written less than it should: only its first `length` bytes. */
  shortened(id: number, length: number): void {
    const invocation = this.#underWay.get(id)!;
    this.#underWay.set(id, { ...invocation, operation: { ...invocation.operation, length } as FileOperation });
    const left = this.#configurations.filter(({ effective }) => !effective.has(id));
    if (left.length > 0) this.#configurations = left;
  }

  #mayHaveHappened(id: number): void {
    const left = new Map<string, Configuration>();
    const effective = changesNothing(this.#underWay.get(id)!.operation) ? [] : this.#allWith(id);
    for (const configuration of [...this.#configurations, ...effective]) {
      keep(left, { model: configuration.model, effective: without(configuration.effective, id) });
    }
    this.#underWay.delete(id);
    this.#abandoned.delete(id);
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
      const possible = [...this.#underWay.values()].filter((one) => !configuration.effective.has(one.id));
      for (const invocation of relevant(configuration.model, this.#underWay.get(id)!, possible)) {
        for (const { model, prediction } of this.#executions(configuration.model, invocation)) {
          visit({ model, effective: new Map([...configuration.effective, [invocation.id, prediction]]) });
        }
      }
      if (seen.size > 4 * configurationsMax) throw new Undecided(seen.size);
    }
    return found;
  }

  #executions(model: Model, invocation: Invocation): Execution[] {
    if (!isKnown(model, invocation.operation)) return [];
    const { client } = invocation;
    let whole = execute(model, invocation);
    if (this.#holdless.has(client)) whole = { ...whole, model: dropHolds(whole.model, client) };
    if (!this.#abandoned.has(invocation.id)) return [whole];
    const parts = executeTorn(model, invocation);
    const executions = parts === undefined ? [whole] : [whole, parts];
    return executions.map((execution) => ({ ...execution, prediction: anything }));
  }
}

/** What it saw, nobody has been told. */
function changesNothing(operation: FileOperation): boolean {
  switch (operation.kind) {
    case "lookup":
    case "getAttributes":
    case "readLink":
    case "read":
    case "readDirectory":
    case "sync":
      return true;
    case "open":
      return !operation.truncate;
    default:
      return false;
  }
}

/** False while the model has no inode of a number: the outcome that told of it has not been explained there. */
function isKnown(model: Model, operation: FileOperation): boolean {
  return [
    "inode" in operation ? operation.inode : undefined,
    "parent" in operation ? operation.parent : undefined,
    "newParent" in operation ? operation.newParent : undefined,
  ].every((number) => number === undefined || model.numbered(number) !== undefined);
}

/** Adds the configuration unless an equal one is there. */
function keep(configurations: Map<string, Configuration>, configuration: Configuration): boolean {
  const { model, effective } = configuration;
  let key = `${model.fingerprint};${[...model.choices].sort().join()}`;
  for (const id of [...effective.keys()].sort((left, right) => left - right)) {
    key += `;${id} ${predictionKey(effective.get(id)!)}`;
  }
  if (configurations.has(key)) return false;
  configurations.set(key, configuration);
  return true;
}

function without(effective: ReadonlyMap<number, Prediction>, id: number): ReadonlyMap<number, Prediction> {
  if (!effective.has(id)) return effective;
  const left = new Map(effective);
  left.delete(id);
  return left;
}
