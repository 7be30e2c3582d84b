/**
 * A copy from one file to another (copy_file_range(2)) is not one moment: it reads what the source has, then writes it, and goes
 * on with the rest. Others may change both files between these steps. So a configuration says how far each copy under way is.
 */
import type { FileOperation } from "../file-operation.ts";
import { copiedPieces } from "../model-data.ts";
import type { Invocation } from "../model-operations.ts";
import { type Piece, within } from "../tagged-data.ts";
import { type Configuration, without } from "./configuration.ts";
import { type HowLong, lengthsOf } from "./short-writes.ts";

type Copy = Extract<FileOperation, { kind: "copyRange" }>;

/**
 * After the next step: the copy has read, or has written what it read. It is over when it has written all, or there was
 * nothing to be read because the source ends. A step that is made shorter may be the last, too.
 *
 * @param known of how much is copied in the end
 * @param effects what follows from a step that writes
 */
export function nextOfCopy(
  configuration: Configuration,
  { id, operation }: Invocation & { readonly operation: Copy },
  { known, shortening }: HowLong,
  effects: (step: Copy) => Configuration[],
): Configuration[] {
  const { model, copies } = configuration;
  const asked = typeof known === "number" ? { ...operation, length: known } : operation;
  if (model.numbered(asked.source)!.gone) {
    return effects(copyOfAnything(asked)).map((after) => {
      return { ...after, effective: new Map([...after.effective, [id, { kind: "any" }]]) };
    });
  }
  const { copiedBytes, read, isShort = false } = copies.get(id) ?? { copiedBytes: 0, read: undefined };
  if (copiedBytes > asked.length) return [];
  const rest = {
    ...asked,
    offset: asked.offset + copiedBytes,
    sourceOffset: asked.sourceOffset + copiedBytes,
    length: asked.length - copiedBytes,
  };
  if (read === undefined) {
    const found = copiedPieces(model, rest);
    if (found.length > 0) {
      return [{ ...configuration, copies: new Map([...copies, [id, { copiedBytes, isShort, read: found }]]) }];
    }
  }
  // It may have turned out since that less was written than had been read.
  const whole = Math.min(rest.length, (read?.at(-1)?.end ?? rest.offset) - rest.offset);
  // With more than one step that is made shorter there would be too many ways; it takes a quota that grows meanwhile.
  const how = { known: known === "any" && !isShort ? known : undefined, shortening };
  return lengthsOf(model, { ...rest, length: whole }, how).flatMap((length) => {
    const copied: readonly Piece[] = within(read ?? [], rest.offset, rest.offset + length);
    const upTo = copiedBytes + length;
    return effects({ ...rest, copied }).flatMap((after) => {
      const ended = over(after, id, upTo);
      if (read === undefined || upTo >= asked.length) return [ended];
      const copying = { copiedBytes: upTo, isShort: isShort || length < whole, read: undefined };
      const goesOn = { ...without(after, id), copies: new Map([...copies, [id, copying]]) };
      return length < whole ? [ended, goesOn] : [goesOn];
    });
  });
}

function over(after: Configuration, id: number, copiedBytes: number): Configuration {
  const copies = new Map(after.copies);
  copies.delete(id);
  const prediction = after.effective.get(id)!;
  const told = prediction.kind === "written" ? { ...prediction, length: copiedBytes } : prediction;
  return { ...after, copies, effective: new Map([...after.effective, [id, told]]) };
}

/** The source has neither names nor handles that count: it may be there still, with whatever is in it. */
function copyOfAnything(asked: Copy): Copy {
  const length = asked.copiedBytes ?? asked.length;
  const piece = { start: asked.offset, end: asked.offset + length, source: { anything: true } } as const;
  return { ...asked, copied: length === 0 ? [] : [piece] };
}
