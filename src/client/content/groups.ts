/**
 * Mirror groups as this client knows them: generation, members, addresses. The leader announces changes; who meets a
 * generation that it doesn't know, or a member that fails, asks anew.
 */
import { BrineError } from "../../errors/brine-error.ts";
import { type GroupView, readGroups } from "../../wire/catalogue/leader.ts";
import type { Session } from "../session.ts";
import type { Operation } from "../waits.ts";

export class Groups {
  readonly #session: Session;
  readonly #views = new Map<number, GroupView>();
  /** The question under way, and the one to be asked after it, for those who need an answer that is newer than now. */
  #asking: Promise<void> | undefined;
  #askingNext: Promise<void> | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Takes over what is newer than known. */
  learn(views: readonly GroupView[]): void {
    for (const view of views) {
      const known = this.#views.get(view.group);
      // The same generation may come again with a new address of a member.
      if (known === undefined || known.generation <= view.generation) this.#views.set(view.group, view);
    }
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
