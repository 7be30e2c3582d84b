/**
 * Which members of groups are asked last for good copies: those that did not answer in time, or late. The leader knows which stores are slow
 * (metadata/copy-sources.ts) and names a quick one where it names any; who repairs single blocks has only what it met itself. It is forgotten
 * after a while, or when the member has answered quickly: nobody stays last for good.
 */
import type { Clock } from "../platform/clock.ts";

/** A disk that works answers within tens of milliseconds. */
const lateMs = 500;
/** Long beside one time-out (2 to 10 s), so that it is paid once in a while and not with each block. */
const rememberedMs = 60_000;

export class LateMembers {
  readonly #clock: Pick<Clock, "nowMs">;
  /** By store: until when. Only members of groups are asked, so it has few entries. */
  readonly #late = new Map<number, number>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** What is asked of a member; how long it takes decides. Errors: those of the question. */
  async asking<T>(store: number, ask: () => Promise<T>): Promise<T> {
    const startMs = this.#clock.nowMs();
    try {
      return await ask();
    } finally {
      if (this.#clock.nowMs() - startMs >= lateMs) this.wasLate(store);
      else this.#late.delete(store);
    }
  }

  wasLate(store: number): void {
    this.#late.set(store, this.#clock.nowMs() + rememberedMs);
  }

  /** In their order, but the late ones behind all others. */
  ordered<M extends { readonly store: number }>(members: readonly M[]): M[] {
    const nowMs = this.#clock.nowMs();
    const isLate = ({ store }: M) => (this.#late.get(store) ?? 0) > nowMs;
    return [...members.filter((member) => !isLate(member)), ...members.filter(isLate)];
  }
}
