/** Where scrubs are, in rows of the index: a pass goes on after a restart. What it reads twice then does no harm. */
import { decode, encode, type Infer, list, struct, u16, u64 } from "../codec/schema.ts";
import type { KeyValue } from "../platform/key-value.ts";
import { scrubKey } from "./keys.ts";

const passRow = struct({
  /** Wall clock. */
  beganMs: u64,
  /** 0: under way. */
  endedMs: u64,
  /** Up to here all chunks are read and compared; 0: none. */
  chunk: u64,
  /** Of these groups only; empty: of all. */
  groups: list(u16, 8192),
  doneBytes: u64,
  /** Of its groups when it began. */
  totalBytes: u64,
  badBlocks: u64,
  repairedBlocks: u64,
  /** Blocks that were missing here or older than another member's. */
  differingBlocks: u64,
});
export type Pass = Readonly<Infer<typeof passRow>>;

/** `regular` comes round by itself; `ordered` was asked for by a person. */
export type PassKind = "regular" | "ordered";

export class ScrubPasses {
  readonly #keyValue: KeyValue;
  readonly #onChange: () => void;

  /** @param onChange what is remembered has changed and should be saved */
  constructor(keyValue: KeyValue, onChange: () => void) {
    this.#keyValue = keyValue;
    this.#onChange = onChange;
  }

  /** The last one, or the one under way. */
  get(kind: PassKind): Pass | undefined {
    const bytes = this.#keyValue.get(scrubKey(kind));
    return bytes === undefined ? undefined : decode(passRow, bytes);
  }

  set(kind: PassKind, pass: Pass): void {
    this.#keyValue.put(scrubKey(kind), encode(passRow, { ...pass, groups: [...pass.groups] }));
    this.#onChange();
  }
}
