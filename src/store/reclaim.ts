/**
 * Gives dead space back to the disk: removes segments without live data, punches dead ranges. Runs after a checkpoint of
 * the index became durable, for what lies below it (see space.ts for why), and behind the readers that were under way.
 */
import type { LogPosition, SegmentLog } from "../log/segment-log.ts";
import { blockBytes } from "../namespace/model.ts";
import type { Logger } from "../platform/logger.ts";
import type { ReadGate } from "./read-gate.ts";
import type { Space } from "./space.ts";

/** While there is room, only larger ranges are punched: each costs a system call, and most grow or die with the rest. */
const roomyPunchBytes = 256 * 1024;
/** Ranges between two looks at whether the store closes, and two waits for readers. */
const punchesPerRound = 128;

export type ReclaimLog = Pick<SegmentLog, "segments" | "punch" | "removeSegment">;

export class Reclaimer {
  readonly #log: ReclaimLog;
  readonly #space: Space;
  readonly #gate: ReadGate;
  readonly #logger: Logger;
  readonly #onReclaimed: () => void;
  #running: Promise<void> | undefined;
  #closed = false;
  #canPunch = true;

  constructor(options: { log: ReclaimLog; space: Space; gate: ReadGate; logger: Logger; onReclaimed: () => void }) {
    this.#log = options.log;
    this.#space = options.space;
    this.#gate = options.gate;
    this.#logger = options.logger;
    this.#onReclaimed = options.onReclaimed;
  }

  /** `position`: of a durable checkpoint. `tight`: every block counts. */
  run(position: LogPosition, tight: boolean): void {
    if (this.#running !== undefined || this.#closed) return;
    this.#running = this.#round(position, tight)
      .catch((error) => {
        this.#logger.warn("dead space could not be given back", { error: String(error) });
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Resolves when no round is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** No round begins any more; resolves when the last one is over. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #round(position: LogPosition, tight: boolean): Promise<void> {
    let reclaimed = await this.#removeSegments(position);
    while (!this.#closed && this.#canPunch) {
      const places = this.#space.punchable(position, tight ? blockBytes : roomyPunchBytes, punchesPerRound);
      if (places.length === 0) break;
      await this.#gate.quiesce();
      for (const place of places) {
        if (!(await this.#punch(place.segment, place.offset, place.length))) break;
        this.#space.punched(place);
        reclaimed = true;
      }
      if (places.length < punchesPerRound) break;
    }
    if (reclaimed) this.#onReclaimed();
  }

  async #removeSegments(position: LogPosition): Promise<boolean> {
    const dead = this.#log.segments().filter((segment) => segment < position.segment && !this.#space.isHeld(segment));
    if (dead.length === 0) return false;
    await this.#gate.quiesce();
    for (const segment of dead) {
      await this.#log.removeSegment(segment);
      this.#space.removed(segment);
    }
    return true;
  }

  /** False where the file system has no holes. */
  async #punch(segment: number, offset: number, length: number): Promise<boolean> {
    try {
      await this.#log.punch(segment, offset, length);
      return true;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EOPNOTSUPP") throw error;
      this.#canPunch = false;
      this.#logger.warn("the file system can't punch holes: only whole segments are given back");
      return false;
    }
  }
}
