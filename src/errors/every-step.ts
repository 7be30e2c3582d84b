/** The end of something, step by step: what one step fails to do must not keep the others from being done. */

/** Does all steps, one after the other. Errors: that of the first one that failed, when all have been tried. */
export async function everyStep(steps: Iterable<() => Promise<unknown> | unknown>): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
