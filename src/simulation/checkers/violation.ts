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
