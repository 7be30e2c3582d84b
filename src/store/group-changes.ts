/** Views of groups that come from the leader: the newer ones go to the log, one change at a time. */
import { encode } from "../codec/schema.ts";
import { type GroupView, groupView } from "../wire/catalogue/leader.ts";

export class GroupChanges {
  /** As of the last durable change, by number. */
  readonly #known: ReadonlyMap<number, GroupView>;
  readonly #append: (views: GroupView[]) => Promise<void>;
  readonly #underWay = new Set<number>();
  /** The change that began last. */
  #last: Promise<void> = Promise.resolve();

  /** @param append makes views durable, after which they are among `known` */
  constructor(known: ReadonlyMap<number, GroupView>, append: (views: GroupView[]) => Promise<void>) {
    this.#known = known;
    this.#append = append;
  }

  /** True while a new generation of the group is on its way to the disk: neither it nor the old one holds. */
  isUnderWay(group: number): boolean {
    return this.#underWay.has(group);
  }

  /** Resolves when those that are news are durable. Errors: those of `append`. */
  async learn(views: readonly GroupView[]): Promise<void> {
    // An older view must not come behind a newer one in the log.
    const learning = this.#last.then(() => this.#appendNews(views));
    this.#last = learning.catch(() => {});
    await learning;
  }

  async #appendNews(views: readonly GroupView[]): Promise<void> {
    const news = newestOfEach(views.filter((view) => this.#isNews(view)));
    if (news.length === 0) return;
    for (const view of news) this.#underWay.add(view.group);
    try {
      await this.#append(news);
    } finally {
      for (const view of news) this.#underWay.delete(view.group);
    }
  }

  #isNews(view: GroupView): boolean {
    const known = this.#known.get(view.group);
    if (known === undefined || known.generation !== view.generation) return (known?.generation ?? -1) < view.generation;
    // Addresses may change within a generation, members never do.
    return hasSameMembers(known, view) && !encode(groupView, known).equals(encode(groupView, view));
  }
}

/** No leader speaks of a group twice at once. Of whoever does, nothing goes to the log that can't be applied, or replayed at a start. */
function newestOfEach(views: readonly GroupView[]): GroupView[] {
  const newest = new Map<number, GroupView>();
  for (const view of views) {
    const before = newest.get(view.group);
    if (before === undefined || before.generation < view.generation) newest.set(view.group, view);
  }
  return [...newest.values()];
}

function hasSameMembers(left: GroupView, right: GroupView): boolean {
  const membersOf = ({ members }: GroupView) => members.map(({ store, state }) => `${store} ${state}`).join();
  return membersOf(left) === membersOf(right);
}
