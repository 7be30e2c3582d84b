/** A promise of the file system was broken: what a simulation is there to find. */
export class Violation extends Error {
  /** The promise, in a few words. */
  readonly promise: string;

  constructor(promise: string, what: string) {
    super(`${promise}: ${what}`);
    this.name = "Violation";
    this.promise = promise;
  }
}

/** So many operations were under way, or of dead clients, that their orders can't all be tried: no verdict. */
export class Undecided extends Error {
  constructor(states: number) {
    super(`${states} states are possible: too many to go on`);
    this.name = "Undecided";
  }
}
