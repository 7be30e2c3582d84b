/** When something was wrong, by what checkers tell apart: with one kind of it, all else may be well. */
import { Spells } from "./spells.ts";

/** stall: disks don't answer. leader: the metadata server is away, and nothing else is on its machine. */
export const scopes = ["stall", "leader", "other"] as const;
export type Scope = (typeof scopes)[number];

export class FaultSpells {
  readonly #spells: Readonly<Record<Scope, Spells>> = {
    stall: new Spells(),
    leader: new Spells(),
    other: new Spells(),
  };

  /** Until the function that is returned is called with the time. */
  begin(scope: Scope): (nowUs: number) => void {
    this.#spells[scope].begin();
    return (nowUs) => this.#spells[scope].end(nowUs);
  }

  /** Something has struck and is over. */
  strike(scope: Scope, nowUs: number): void {
    this.begin(scope)(nowUs);
  }

  /** Since when nothing is wrong but in this scope. Infinity: something is; −Infinity: nothing ever was. */
  wellSinceUs(butFor: Scope): number {
    return Math.max(...scopes.filter((scope) => scope !== butFor).map((scope) => this.#spells[scope].lastUs));
  }
}
