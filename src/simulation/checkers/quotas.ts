/**
 * Quotas: usage never goes over a limit. When an operator has set one, all clients have committed what they had done before and have
 * given back what they didn't use. What is there by then, and what they kept for changes under way, is the most that there may
 * be, or the limit. (That usage is counted right, the namespace's invariants say.)
 */
import type { MetadataServer } from "../../metadata/metadata-server.ts";
import type { QuotaSubject } from "../../namespace/model.ts";
import { type Dimension, dimensions } from "../../namespace/usage.ts";
import { Violation } from "./violation.ts";

export class QuotaWatch {
  readonly #volume: number;
  /** The most that there may be of a quota, from when on it is known. */
  readonly #ceilings = new Map<string, { bytes: number | undefined; inodes: number | undefined }>();
  /** Set, and not looked at since. */
  readonly #new = new Set<string>();

  constructor(volume: number) {
    this.#volume = volume;
  }

  /** Limits are about to change: nothing is known of the quota until `changed`. */
  changes(subject: QuotaSubject): void {
    this.#ceilings.delete(nameOf(subject));
    this.#new.delete(nameOf(subject));
  }

  changed(subject: QuotaSubject): void {
    this.#new.add(nameOf(subject));
  }

  /** Throws Violation. */
  look(leader: MetadataServer): void {
    for (const { quota, granted, isCounting } of leader.inspectQuotas(this.#volume) ?? []) {
      const name = nameOf(quota.subject);
      const { limits } = quota;
      if (this.#new.has(name) && !isCounting) {
        this.#new.delete(name);
        const most = (of: Dimension) =>
          limits[of] === undefined ? undefined : Math.max(limits[of], quota[of] + granted[of]);
        this.#ceilings.set(name, { bytes: most("bytes"), inodes: most("inodes") });
      }
      const ceiling = this.#ceilings.get(name);
      for (const of of dimensions) {
        const most = ceiling?.[of];
        if (most === undefined || quota[of] <= most) continue;
        throw new Violation(
          "usage stays within quotas",
          `${name}: ${quota[of]} ${of} of ${limits[of]}, at most ${most}`,
        );
      }
    }
  }
}

function nameOf({ kind, id }: QuotaSubject): string {
  return `${kind} ${id}`;
}
