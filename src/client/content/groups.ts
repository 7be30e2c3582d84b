/**
 * Mirror groups as this client knows them: generation, members, addresses, and how few members in sync they take writes with. The
 * leader announces changes; who meets a generation that it doesn't know, or a member that fails, asks anew.
 */
import { BrineError } from "../../errors/brine-error.ts";
import { inSyncCount } from "../../namespace/in-sync-min.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Address } from "../../platform/network.ts";
import { Sleeper } from "../../platform/sleeper.ts";
import { type GroupView, readGroups } from "../../wire/catalogue/leader.ts";
import type { Session } from "../session.ts";
import type { Operation } from "../waits.ts";

export class Groups {
  readonly #session: Session;
  /** Those who wait for news. */
  readonly #waiting: Sleeper;
  readonly #readInSyncMins: () => Promise<void>;
  readonly #views = new Map<number, GroupView>();
  /** Of the groups of this volume. */
  #inSyncMins: ReadonlyMap<number, number> = new Map();
  /** The question under way, and the one to be asked after it, for those who need an answer that is newer than now. */
  #asking: Promise<void> | undefined;
  #askingNext: Promise<void> | undefined;

  /** @param readInSyncMins has them learned anew */
  constructor(session: Session, clock: Clock, readInSyncMins: () => Promise<void>) {
    this.#session = session;
    this.#waiting = new Sleeper(clock);
    this.#readInSyncMins = readInSyncMins;
  }

  /** Takes over what is newer than known. */
  learn(views: readonly GroupView[]): void {
    let isNews = false;
    for (const view of views) {
      const known = this.#views.get(view.group);
      isNews ||= known === undefined || known.generation < view.generation;
      // The same generation may come again with a new address of a member.
      if (known === undefined || known.generation <= view.generation) this.#views.set(view.group, view);
    }
    // Who waits may ask in turn: what all know already is no reason to look again.
    if (isNews) this.wake();
  }

  /** Stores that writes to the group go to, as far as it is known. */
  writableOf(group: number): number[] {
    const { members = [] } = this.#views.get(group) ?? {};
    return members.filter(({ state }) => state !== "behind").map(({ store }) => store);
  }

  /** Of all stores that are in groups. */
  get addresses(): Address[] {
    const members = [...this.#views.values()].flatMap((view) => view.members);
    return [...new Set(members.map(({ address }) => address))].filter((address) => address !== "");
  }

  /** How few members in sync each group of the volume takes writes with. */
  learnInSyncMins(inSyncMins: ReadonlyMap<number, number>): void {
    this.#inSyncMins = inSyncMins;
    this.wake();
  }

  /** See namespace/in-sync-min.ts; asked for where nothing was heard of the group yet. Errors: EIO (the session has ended). */
  async knowInSyncMin(group: number): Promise<void> {
    if (!this.#inSyncMins.has(group)) await this.#readInSyncMins();
  }

  /** 0 if the group has enough members in sync to take writes; else how many that is. */
  lacksInSync(view: GroupView): number {
    const wanted = this.#inSyncMins.get(view.group) ?? 1;
    return inSyncCount(view) < wanted ? wanted : 0;
  }

  /** Resolves with the next news of any group, and after `timeoutMs` at the latest. */
  news(timeoutMs: number): Promise<void> {
    return this.#waiting.sleep(timeoutMs);
  }

  /** Those who wait for news look again: there are some, or the session has ended. */
  wake(): void {
    this.#waiting.wake();
  }

  /** The group as known, asked for only if it isn't. Errors: BrineError internal for a group that the leader doesn't know. */
  async view(group: number, operation: Operation | undefined): Promise<GroupView> {
    return this.#views.get(group) ?? this.refresh(group, operation);
  }

  /** The group as the leader has it after this call. */
  async refresh(group: number, operation: Operation | undefined): Promise<GroupView> {
    if (operation !== undefined) operation.waitsFor = `leader, for the members of group ${group}`;
    if (this.#asking === undefined) await this.#ask();
    else {
      this.#askingNext ??= this.#asking.catch(() => {}).then(() => this.#ask());
      await this.#askingNext;
    }
    const view = this.#views.get(group);
    if (view === undefined) throw new BrineError("internal", `group ${group} is not known to the leader`);
    return view;
  }

  /** All groups at once: they are few, and what changes one member changes many. */
  #ask(): Promise<void> {
    this.#askingNext = undefined;
    this.#asking = this.#session
      .request(readGroups, { groups: [] })
      .then((answer) => this.learn(answer.views))
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }
}
