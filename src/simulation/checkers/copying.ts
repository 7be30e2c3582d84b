/**
 * A copy from one file to another (copy_file_range(2)) is not one moment: it reads what the source has, then writes it, and goes
 * on with the rest. Others may change both files between these steps. So a configuration says how far each copy under way is.
 */
import type { FileOperation } from "../file-operation.ts";
import { copiedPieces } from "../model-data.ts";
import type { Invocation } from "../model-operations.ts";
import { type Piece, within } from "../tagged-data.ts";
import { type Configuration, without } from "./configuration.ts";

type Copy = Extract<FileOperation, { kind: "copyRange" }>;

/**
 * After the next step: the copy has read, or has written what it read. It is over when it has written all, or there was
 * nothing to be read because the source ends.
 *
 * @param effects what follows from a step that writes
 */
export function nextOfCopy(
  configuration: Configuration,
  invocation: Invocation,
  asked: Copy,
  effects: (step: Invocation) => Configuration[],
): Configuration[] {
  const { model, copies } = configuration;
  const { id } = invocation;
  if (model.numbered(asked.source)!.gone) {
    return effects({ ...invocation, operation: copyOfAnything(asked) }).map((after) => {
      return { ...after, effective: new Map([...after.effective, [id, { kind: "any" }]]) };
    });
  }
  const { copiedBytes, read } = copies.get(id) ?? { copiedBytes: 0, read: undefined };
  const rest = {
    ...asked,
    offset: asked.offset + copiedBytes,
    sourceOffset: asked.sourceOffset + copiedBytes,
    length: asked.length - copiedBytes,
  };
  if (read === undefined) {
    const found = copiedPieces(model, rest);
    if (found.length > 0) {
      return [{ ...configuration, copies: new Map([...copies, [id, { copiedBytes, read: found }]]) }];
    }
  }
  // It may have turned out since that less was written than had been read.
  const end = Math.min(rest.offset + rest.length, read?.at(-1)?.end ?? rest.offset);
  const copied: readonly Piece[] = within(read ?? [], rest.offset, end);
  const upTo = copiedBytes + end - rest.offset;
  const isOver = read === undefined || upTo >= asked.length;
  return effects({ ...invocation, operation: { ...rest, copied } }).map((after) => {
    if (!isOver) {
      const copying = { copiedBytes: upTo, read: undefined };
      return { ...without(after, id), copies: new Map([...copies, [id, copying]]) };
    }
    const left = new Map(after.copies);
    left.delete(id);
    const prediction = after.effective.get(id)!;
    const whole = prediction.kind === "written" ? { ...prediction, length: upTo } : prediction;
    return { ...after, copies: left, effective: new Map([...after.effective, [id, whole]]) };
  });
}

/** The source has neither names nor handles that count: it may be there still, with whatever is in it. */
function copyOfAnything(asked: Copy): Copy {
  const length = asked.copiedBytes ?? asked.length;
  const piece = { start: asked.offset, end: asked.offset + length, source: { anything: true } } as const;
  return { ...asked, copied: length === 0 ? [] : [piece] };
}
