/**
 * Contents of files in the model: which write each byte comes from. Every write has a tag of its own, and its bytes follow
 * from the tag and their place in the write, so a read tells which writes it saw, to the byte.
 *
 * A write whose client died may be torn: each 4 KiB block of it is there or not. The model then keeps both possibilities
 * under the name of a choice, until a read decides it, for good. Writes that only overwrote bytes in place may be there in
 * any combination; any other is only there, even in part, with all that the client had written to the file before.
 */
import { blockBytes } from "../namespace/model.ts";

/** A write's bytes, one of two possibilities, or what nobody knows. Undefined: zeros. */
export type Source =
  | { readonly tag: number; readonly base: number }
  | { readonly anything: true }
  | { readonly choice: string; readonly before: Source; readonly after: Source }
  | undefined;

/** Bytes [start, end) come from `source`. What no piece covers is zeros. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly source: Source;
}

/** A write that may be torn, among those of its client in its file. Times are numbers of the history's events. */
export interface TornWrite {
  /** Names client, file and the end of the session. */
  readonly chain: string;
  readonly calledAt: number;
  readonly returnedAt: number | undefined;
  /** It did more than to overwrite bytes in place: what was written before it is there if any of it is. */
  readonly isOrdered: boolean;
}

/** Choices that reads have decided: true if the torn write's block is there. */
export type Choices = ReadonlyMap<string, boolean>;

const wordBytes = 8;

/** The `length` bytes of the write with this tag, from its byte `from` on: units of tag and unit number. */
export function taggedBytes(tag: number, from: number, length: number): Buffer {
  const firstUnit = Math.floor(from / wordBytes);
  const unitCount = Math.ceil((from + length) / wordBytes) - firstUnit;
  const bytes = Buffer.allocUnsafe(unitCount * wordBytes);
  for (let unit = 0; unit < unitCount; unit++) {
    bytes.writeUInt32LE((tag | 0x8000_0000) >>> 0, unit * wordBytes);
    bytes.writeUInt32LE((firstUnit + unit + 1) >>> 0, unit * wordBytes + 4);
  }
  const skip = from - firstUnit * wordBytes;
  return bytes.subarray(skip, skip + length);
}

/** What bytes say of their writes: for the report of a failure. */
export function describeBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.every((byte) => byte === 0)) return "zeros";
  for (let skip = 0; skip < wordBytes && skip + 4 <= buffer.byteLength; skip++) {
    const word = buffer.readUInt32LE(skip);
    if (word >= 0x8000_0000 && word < 0x8010_0000) return `write ${word - 0x8000_0000}`;
  }
  return `bytes ${buffer.subarray(0, 16).toString("hex")}`;
}

/** The same bytes at another place. */
export function moved({ start, end, source }: Piece, by: number): Piece {
  return { start: start + by, end: end + by, source: movedSource(source, by) };
}

function movedSource(source: Source, by: number): Source {
  if (source === undefined) return undefined;
  if ("anything" in source) return source;
  if ("tag" in source) return { ...source, base: source.base + by };
  return { ...source, before: movedSource(source.before, by), after: movedSource(source.after, by) };
}

/** The pieces with [start, end) from `source`. */
export function overwritten(pieces: readonly Piece[], start: number, end: number, source: Source): Piece[] {
  if (start >= end) return [...pieces];
  const result: Piece[] = [];
  for (const piece of pieces) {
    if (piece.start < start) result.push({ ...piece, end: Math.min(piece.end, start) });
  }
  if (source !== undefined) result.push({ start, end, source });
  for (const piece of pieces) {
    if (piece.end > end) result.push({ ...piece, start: Math.max(piece.start, end) });
  }
  return result;
}

/**
 * The pieces with [start, end) torn: of each block (or larger unit), either all that the write has of it is there, or nothing.
 */
export function torn(
  pieces: readonly Piece[],
  start: number,
  end: number,
  after: Source,
  { chain, calledAt, returnedAt, isOrdered }: TornWrite,
  name: string,
  unitBytes = blockBytes,
): Piece[] {
  let result: readonly Piece[] = pieces;
  for (let unit = Math.floor(start / unitBytes); unit * unitBytes < end; unit++) {
    const from = Math.max(start, unit * unitBytes);
    const to = Math.min(end, (unit + 1) * unitBytes);
    const times = [calledAt, returnedAt ?? Number.POSITIVE_INFINITY];
    const choice = [chain, ...times, isOrdered ? "ordered" : "any", `${name}.${unit}`].join("|");
    const before = within(pieces, from, to);
    result = overwritten(result, from, to, undefined);
    for (const piece of before) {
      if (piece.source === undefined && after === undefined) continue;
      result = overwritten(result, piece.start, piece.end, { choice, before: piece.source, after });
    }
  }
  return [...result];
}

function parsed(choice: string): TornWrite {
  const [chain, calledAt, returnedAt, order] = choice.split("|");
  const times = { calledAt: Number(calledAt), returnedAt: Number(returnedAt) };
  return { chain: chain!, ...times, isOrdered: order === "ordered" };
}

/** The choices with one more decided; undefined if that can't be, because of the order of the writes. */
export function withChoice(choices: Choices, choice: string, there: boolean): Choices | undefined {
  const known = choices.get(choice);
  if (known !== undefined) return known === there ? choices : undefined;
  const one = parsed(choice);
  for (const [other, otherThere] of choices) {
    if (otherThere === there || !other.startsWith(`${one.chain}|`)) continue;
    const two = parsed(other);
    const [kept, lost] = there ? [one, two] : [two, one];
    if (kept.isOrdered && lost.returnedAt! < kept.calledAt) return undefined;
  }
  return new Map([...choices, [choice, there]]);
}

/**
 * Everything of the chain that the pieces leave open, and that had returned before `calledBefore`, is there. Undefined if
 * something is known not to be.
 */
export function wholeChain(
  pieces: readonly Piece[],
  choices: Choices,
  chain: string,
  calledBefore: number,
): Choices | undefined {
  let decided: Choices | undefined = choices;
  const visit = (source: Source) => {
    if (source === undefined || !("choice" in source) || decided === undefined) return;
    const write = parsed(source.choice);
    if (write.chain === chain && write.returnedAt! < calledBefore) decided = withChoice(decided, source.choice, true);
    visit(source.before);
    visit(source.after);
  };
  for (const { source } of pieces) visit(source);
  return decided;
}

/** Pieces that cover [start, end) without a gap: zeros are pieces without a source. */
export function within(pieces: readonly Piece[], start: number, end: number): Piece[] {
  const result: Piece[] = [];
  let at = start;
  for (const piece of pieces) {
    const from = Math.max(piece.start, start);
    const to = Math.min(piece.end, end);
    if (from >= to) continue;
    if (from > at) result.push({ start: at, end: from, source: undefined });
    result.push({ start: from, end: to, source: piece.source });
    at = to;
  }
  if (at < end) result.push({ start: at, end, source: undefined });
  return result;
}

/**
 * Compares what was read from `offset` on with the pieces. Returns the choices afterwards, or where they differ first.
 */
export function compareBytes(
  pieces: readonly Piece[],
  offset: number,
  bytes: Uint8Array,
  choices: Choices,
): Choices | { differsAt: number } {
  let decided = choices;
  for (const piece of within(pieces, offset, offset + bytes.byteLength)) {
    const actual = bytes.subarray(piece.start - offset, piece.end - offset);
    const after = decide(piece, piece.source, actual, decided);
    if (after === undefined) return { differsAt: piece.start };
    decided = after;
  }
  return decided;
}

function decide(piece: Piece, source: Source, actual: Uint8Array, choices: Choices): Choices | undefined {
  if (source === undefined || "tag" in source) return isFrom(piece, source, actual) ? choices : undefined;
  if ("anything" in source) return choices;
  for (const there of [false, true]) {
    const assumed = withChoice(choices, source.choice, there);
    if (assumed === undefined) continue;
    const after = decide(piece, there ? source.after : source.before, actual, assumed);
    if (after !== undefined) return after;
  }
  return undefined;
}

function isFrom(piece: Piece, source: { tag: number; base: number } | undefined, actual: Uint8Array): boolean {
  if (source === undefined) return actual.every((byte) => byte === 0);
  const expected = taggedBytes(source.tag, piece.start - source.base, actual.byteLength);
  return expected.compare(actual) === 0;
}
