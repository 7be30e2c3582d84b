/** Faults that last just now: how much they forbid others, what they are, and since when all else is well. */
import { FaultSpells, type Scope } from "./fault-spells.ts";

export interface Lasting {
  /** As the log of a failure names it. */
  readonly name: string;
  /** What is wrong; undefined: nothing yet. */
  readonly scope: Scope | undefined;
  /** How many others it keeps away; default: 1. */
  readonly places?: number;
}

export class LastingFaults {
  readonly #nowUs: () => number;
  readonly #spells = new FaultSpells();
  readonly #present = new Set<Lasting>();

  constructor(nowUs: () => number) {
    this.#nowUs = nowUs;
  }

  /** How much lasts. */
  get places(): number {
    return [...this.#present].reduce((sum, { places = 1 }) => sum + places, 0);
  }

  /** As `diskFull of beta, storeLoss of alpha`. */
  get names(): string {
    return [...this.#present].map(({ name }) => name).join(", ");
  }

  /** Until the function that is returned is called. */
  begin(lasting: Lasting): () => void {
    this.#present.add(lasting);
    const end = lasting.scope && this.#spells.begin(lasting.scope);
    return () => {
      this.#present.delete(lasting);
      end?.(this.#nowUs());
    };
  }

  /** Something has struck and is over. */
  strike(scope: Scope): void {
    this.#spells.strike(scope, this.#nowUs());
  }

  /** Since when nothing is wrong but in this scope. Infinity: something is; −Infinity: nothing ever was. */
  wellSinceUs(butFor: Scope): number {
    return this.#spells.wellSinceUs(butFor);
  }
}
