/** What operators name, found or refused in the same words everywhere. */
import { BrineError } from "../errors/brine-error.ts";
import type { VolumeRecord } from "../namespace/model.ts";
import type { Namespace } from "../namespace/namespace.ts";
import { isLabelKey } from "../namespace/store-labels.ts";

/** Errors: notFound. */
export function volumeNamed(namespace: Namespace, name: string): VolumeRecord {
  const volume = namespace.volumeByName(name);
  if (volume === undefined) throw noVolume(name);
  return volume;
}

export function noVolume(name: string): BrineError {
  return new BrineError("notFound", `there is no volume "${name}"`, { advice: 'see "brine volume list"' });
}

/** Errors: invalid. */
export function checkedLabelKey(key: string): string {
  if (isLabelKey(key)) return key;
  throw new BrineError("invalid", `"${key}" can't be a label's key`, { advice: "use 1 to 64 of A–Z a–z 0–9 . _ -" });
}
