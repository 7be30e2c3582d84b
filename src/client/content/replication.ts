/**
 * A change on all members of a group.
 *
 * It is done when every member that takes writes (in sync or catching up) has acknowledged it *in one generation*.
 * Acknowledgements of an older generation don't count: a member may have left and come back since, and thrown away what
 * only we had given it. A member that is catching up counts like the others, because it may be past this chunk already and
 * become readable without the change.
 *
 * 1. Wait until as many members are in sync as the volume wants (`inSyncMin`). It is looked at again after the round: the minimum
 *    may have been raised meanwhile. So nothing is acknowledged with fewer copies on disks than that. Members of a generation
 *    are what they are: who takes one out makes a new generation, in which nobody has acknowledged anything.
 * 2. Send to all members of the view; those that have acknowledged in this generation are left out.
 * 3. A member that failed is reported to the leader, which takes it out (a new generation) or has reached it (try again). So is one that
 *    catches up and has no room while all in sync have: it would keep everybody from writing for as long as its disk is full, and what
 *    they have of the change could not be taken back, since it has no previous content that it could be asked for.
 * 4. Refresh the view; a new generation begins at 1 with nobody acknowledged. Otherwise wait a little.
 *
 * Once begun it is never given up by its caller's wish: half of the members would differ from the others.
 */
import { BrineError, hasCode } from "../../errors/brine-error.ts";
import type { Platform } from "../../platform/platform.ts";
import type { GroupView } from "../../wire/catalogue/leader.ts";
import { Backoff } from "../retry.ts";
import type { Operation } from "../waits.ts";
import { kindOfFailure, type Members } from "./members.ts";
import type { StoreLink } from "./stores.ts";

/** Between tries: a store waits for its new generation about so long, and a person doesn't notice it. */
const retryDelayMsMax = 250;
/** News of a group come by themselves; should they be lost, they are asked for. */
const newsMsMax = 1_000;
/** A payload that arrives damaged this often is damaged before it leaves. */
const damagedMax = 5;

/** The state of the members after a change was offered to all of them. */
export interface Offered<R> {
  readonly view: GroupView;
  /** Members that gave a final no: noSpace, unknownChunk. Empty: the change is done. */
  readonly refused: ReadonlyMap<number, BrineError>;
  /** What the others answered, all in this generation. */
  readonly answers: ReadonlyMap<number, R>;
}

export interface Change<R> {
  readonly group: number;
  send(link: StoreLink, generation: number): Promise<R>;
  /** It takes back what nobody was told is done: it is not to wait for more members in sync. */
  readonly isUndo?: boolean;
  /** Whether what a member answered says that it has no room for some of it. */
  lacksRoom?(answer: R): boolean;
  /** Members that need not have it, in this view. */
  excused?(view: GroupView): ReadonlySet<number>;
  /** Filled with the members that have it or may have it. */
  readonly reached: Set<number>;
  /** Filled with the members that once gave no answer: it may still take effect there. */
  readonly uncertain: Set<number>;
}

const nobody: ReadonlySet<number> = new Set();

export class Replication {
  readonly #platform: Platform;
  readonly #members: Members;
  /** What changes wait for that have too few members in sync. */
  readonly #lacks = new Set<{ text: string }>();

  constructor(platform: Platform, members: Members) {
    this.#platform = platform;
    this.#members = members;
  }

  /** `volume home wants 2 in-sync copies, …`: what some change waits for, if any does. */
  get lack(): string | undefined {
    for (const { text } of this.#lacks) return text;
    return undefined;
  }

  /** Errors: superseded, and EIO when the session has ended. */
  async offer<R>(change: Change<R>, operation: Operation): Promise<Offered<R>> {
    const { group } = change;
    const backoff = new Backoff(this.#platform, retryDelayMsMax);
    const { groups } = this.#members;
    await groups.knowInSyncMin(group);
    let view = await groups.view(group, operation);
    let { generation } = view;
    let answers = new Map<number, R>();
    let refused = new Map<number, BrineError>();
    let damagedCount = 0;
    for (;;) {
      if (!change.isUndo) view = await this.#whenEnough(view, operation);
      if (view.generation !== generation) answers = new Map();
      ({ generation } = view);
      const excused = change.excused?.(view) ?? nobody;
      const links = this.#members.writable(view).filter(({ store }) => !excused.has(store) && !answers.has(store));
      operation.waitsFor = links.length === 1 ? links[0]!.name : `stores of group ${group}`;
      refused = new Map();
      const failures = await this.#round(change, links, generation, answers, refused);
      failures.push(...this.#laggards(change, view, answers, refused));
      if (failures.length === 0) {
        if (change.isUndo || groups.lacksInSync(view) === 0) return { view, refused, answers };
        continue;
      }
      if (failures.some(({ error }) => hasCode(error, "badChecksum")) && ++damagedCount > damagedMax) {
        throw failures.find(({ error }) => hasCode(error, "badChecksum"))!.error;
      }
      await this.#report(failures);
      view = await groups.refresh(group, operation);
      if (view.generation === generation) await backoff.wait();
    }
  }

  /** The view, or a later one, with as many members in sync as the volume wants. Errors: EIO when the session has ended. */
  async #whenEnough(first: GroupView, operation: Operation): Promise<GroupView> {
    const { groups } = this.#members;
    if (groups.lacksInSync(first) === 0) return first;
    const lack = { text: "" };
    this.#lacks.add(lack);
    try {
      let view = first;
      for (let wanted = groups.lacksInSync(view); wanted > 0; wanted = groups.lacksInSync(view)) {
        lack.text = this.#members.lackText(view, wanted);
        operation.waitsFor = lack.text;
        await groups.news(newsMsMax);
        view = await groups.view(view.group, undefined);
        if (groups.lacksInSync(view) > 0) view = await groups.refresh(view.group, undefined);
      }
      return view;
    } finally {
      this.#lacks.delete(lack);
    }
  }

  /** Those that catch up and have no room for the change, if all in sync have it or may have it. They have not answered then. */
  #laggards<R>(
    change: Change<R>,
    view: GroupView,
    answers: Map<number, R>,
    refused: Map<number, BrineError>,
  ): { link: StoreLink; error: unknown }[] {
    const isFull = (store: number) => {
      const answer = answers.get(store);
      return hasCode(refused.get(store), "noSpace") || (answer !== undefined && change.lacksRoom?.(answer) === true);
    };
    const full = view.members.filter(({ store }) => isFull(store));
    if (full.some(({ state }) => state === "inSync")) return [];
    const stores = new Set(full.map(({ store }) => store));
    const links = this.#members.writable(view).filter(({ store }) => stores.has(store));
    return links.map((link) => {
      const error = refused.get(link.store) ?? new BrineError("noSpace", `${link.name} catches up and is full`);
      answers.delete(link.store);
      refused.delete(link.store);
      return { link, error };
    });
  }

  /** Sends to the links; returns those that have to be tried again. Throws what can't be helped when all have answered. */
  async #round<R>(
    change: Change<R>,
    links: readonly StoreLink[],
    generation: number,
    answers: Map<number, R>,
    refused: Map<number, BrineError>,
  ): Promise<{ link: StoreLink; error: unknown }[]> {
    const failures: { link: StoreLink; error: unknown }[] = [];
    let fatal: unknown;
    const one = async (link: StoreLink) => {
      try {
        const answer = await change.send(link, generation);
        change.reached.add(link.store);
        answers.set(link.store, answer);
      } catch (error) {
        const kind = kindOfFailure(error);
        if (kind === "refused") refused.set(link.store, error as BrineError);
        else if (kind === "fatal") fatal ??= error;
        else failures.push({ link, error });
        if (kind === "uncertain") {
          change.reached.add(link.store);
          change.uncertain.add(link.store);
        }
      }
    };
    await Promise.all(links.map(one));
    if (fatal !== undefined) {
      this.#members.judgeSession(fatal);
      throw fatal;
    }
    return failures;
  }

  async #report(failures: readonly { link: StoreLink; error: unknown }[]): Promise<void> {
    const reports = failures
      .filter(({ error }) => ["unsent", "uncertain", "refused"].includes(kindOfFailure(error)))
      .map(({ link, error }) => this.#members.report(link, error));
    await Promise.all(reports);
  }
}
