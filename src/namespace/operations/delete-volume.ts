/**
 * deleteVolume: marks a volume as deleted. Its name is free at once; removeVolumeInodes then empties it.
 *
 * Errors: ENOENT (no such volume, or deleted before), EBUSY (a session is open on it).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function deleteVolume(context: Context, operation: OperationOf<"deleteVolume">): Result {
  const { sessions, volumes } = context.tables;
  const volume = volumes.get(operation.volume);
  if (volume?.deleted !== false) throw new FileError("ENOENT", `no volume ${operation.volume}`);
  if (sessions.all().some((session) => session.volume === operation.volume)) {
    throw new FileError("EBUSY", `volume ${volume.name} is mounted`);
  }
  volumes.put({ ...volume, deleted: true });
  return { kind: "done" };
}
