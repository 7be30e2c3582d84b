/** The namespace at rest, after all servers have stopped: whole in itself, and every chunk that a file maps is everywhere. */
import { checkInvariants } from "../../namespace/invariants.ts";
import { numberOfKey, table, tableEnd, tableKey } from "../../namespace/keys.ts";
import { Namespace } from "../../namespace/namespace.ts";
import { type State, scanUpTo } from "../../namespace/state.ts";
import type { ChunkPlaces } from "./members.ts";
import { Violation } from "./violation.ts";

/**
 * Throws Violation. Returns the number of chunks on stores that nothing refers to. A few are no fault: a write that was
 * sent again on another connection may arrive once more after its chunk was deleted.
 */
export function checkMetadata(state: State, places: ChunkPlaces): number {
  const broken = checkInvariants(state);
  if (broken.length > 0) throw new Violation("the namespace is whole", broken.slice(0, 10).join("\n    "));
  const namespace = new Namespace(state);
  if (namespace.sessions().length > 0) throw new Violation("sessions end", `${namespace.sessions().length} are left`);
  if (namespace.chunksToDeleteCount > 0) {
    throw new Violation("what was deleted is deleted", `${namespace.chunksToDeleteCount} chunks are left`);
  }
  const mapped = new Set<number>();
  for (const [key] of scanUpTo(state, tableKey(table.owner), tableEnd(table.owner), Number.MAX_SAFE_INTEGER)) {
    mapped.add(numberOfKey(key));
  }
  for (const chunk of mapped) {
    const place = places.get(chunk);
    if (place !== undefined && place.having.length === place.members.length) continue;
    throw new Violation(
      "a mapped chunk is on all members in sync",
      `chunk ${chunk} is on the stores ${place?.having ?? "(none)"}, of ${place?.members ?? "its group"}`,
    );
  }
  return [...places.keys()].filter((chunk) => !mapped.has(chunk)).length;
}
