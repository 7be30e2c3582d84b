/**
 * What a store knows of its own damage, in the file `damage` of its directory, until the leader knows it too.
 *
 *     possible    the log's last commit was not whole at a start: it was never acknowledged, or it rotted. A member that has
 *                 all of it may know more, so this one compares itself with it before it is read.
 *     certain     log or index were damaged, and the index was built again from what is left of the segments. What was
 *                 acknowledged may be missing, and what was deleted may be back: the group's other members know. The same if
 *                 all of the directory is gone.
 *
 * The file is written before anything that would hide the damage (a commit that is dropped, a new index), so a crash in
 * between doesn't make the store forget. It goes when the leader has answered: by then the store is in sync only in groups
 * where nobody knows better.
 */
import { boolean, decode, encode, type Infer, oneOf, struct, text, u16 } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { Platform } from "../platform/platform.ts";

const damageFormat = 1;
const reasonLengthMax = 1_000;

const damageRecord = struct({
  format: u16,
  loss: oneOf("possible", "certain"),
  /** The index is not to be used: it has to be built again. */
  rebuild: boolean,
  reason: text(4 * reasonLengthMax),
});
export type Damage = Omit<Infer<typeof damageRecord>, "format">;

export class DamageNote {
  readonly #platform: Platform;
  readonly #directory: string;
  #damage: Damage | undefined;
  /** Called when the index turns out to be damaged while it is used. */
  onIndexDamage: (reason: string) => void = () => {};

  /** Errors: versionMismatch, DiskError. */
  static async read(platform: Platform, directory: string): Promise<DamageNote> {
    const bytes = await platform.disk.readFile(pathOf(directory));
    if (bytes === undefined) return new DamageNote(platform, directory, undefined);
    const format = (bytes[0] ?? 0) + (bytes[1] ?? 0) * 256;
    if (format !== damageFormat) {
      throw new BrineError("versionMismatch", `${pathOf(directory)} has format ${format}, known is ${damageFormat}`, {
        advice: "start the server with the version of brinefs that wrote it, or a newer one",
      });
    }
    const { loss, rebuild, reason } = decode(damageRecord, bytes);
    return new DamageNote(platform, directory, { loss, rebuild, reason });
  }

  private constructor(platform: Platform, directory: string, damage: Damage | undefined) {
    this.#platform = platform;
    this.#directory = directory;
    this.#damage = damage;
  }

  get damage(): Damage | undefined {
    return this.#damage;
  }

  /** Durable when it resolves. Damage that is known already is not made smaller. */
  async note(damage: Damage): Promise<void> {
    if (damage.loss === "possible" && this.#damage !== undefined) return;
    this.#damage = { ...damage, reason: damage.reason.slice(0, reasonLengthMax) };
    await this.#platform.disk.writeFile(
      pathOf(this.#directory),
      encode(damageRecord, { format: damageFormat, ...this.#damage }),
    );
  }

  /** A row of the index can't be read: the next start builds it again. */
  noteIndex(reason: string): void {
    if (this.#damage?.rebuild === true) return;
    this.note({ loss: "certain", rebuild: true, reason }).catch((error) => {
      this.#platform.logger.for("store").error("the damage of the index is not noted", { error: String(error) });
    });
    this.onIndexDamage(reason);
  }

  /** The leader knows. */
  async forget(): Promise<void> {
    if (this.#damage === undefined || this.#damage.rebuild) return;
    this.#damage = undefined;
    await this.#platform.disk.remove(pathOf(this.#directory));
    await this.#platform.disk.syncDirectory(this.#directory);
  }
}

/** A directory that has to be there and is empty: the note is made before the store is, which would hide it. Errors: DiskError. */
export async function noteIfGone(platform: Platform, directory: string): Promise<void> {
  if ((await platform.disk.list(directory)).length > 0) return;
  await platform.disk.makeDirectory(directory);
  const reason = `everything is gone from ${directory}`;
  platform.logger.for("store").error("damaged: the store's directory is gone, it begins anew", { directory });
  await (await DamageNote.read(platform, directory)).note({ loss: "certain", rebuild: false, reason });
}

function pathOf(directory: string): string {
  return `${directory}/damage`;
}
