/**
 * What only a file's owner may change. The kernel has checked that, but by the owner that it heard last: who comes by a descriptor
 * (fchmod, fchown, futimens, ACLs) may not be the owner any more, since another mount has given the file away. So it is looked at
 * again here, under the lease, where it isn't clear from the request. Who is not the owner may have the capability; in a user
 * namespace that means less, but there the kernel's own check has to do.
 */
import type { AttributeChange } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import type { Request } from "../request.ts";
import type { RequestContext } from "./context.ts";

/** Bits of linux/capability.h. */
const capability = { CHOWN: 0, FOWNER: 3 } as const;

/** For a change of the ACL, which is the owner's matter as the mode is. Throws EPERM when it is asked. */
export function permitToOwner(
  { tasks }: Pick<RequestContext, "tasks">,
  { uid, task }: Pick<Request, "uid" | "task">,
  bit: number = capability.FOWNER,
): AttributeChange["permit"] {
  if (uid === 0) return undefined;
  return (attributes) => {
    if (attributes.uid !== uid && !tasks.hasCapability(task, bit)) {
      throw new FileError("EPERM", "another mount has changed the file's owner");
    }
  };
}

/** For SETATTR. Whoever may write to a file may set both its times to the present, and its size. */
export function permitChange(
  context: Pick<RequestContext, "tasks">,
  request: Pick<Request, "uid" | "task">,
  change: AttributeChange,
): AttributeChange["permit"] {
  const { mode, uid, gid, atime, mtime, size } = change;
  if (size !== undefined) return undefined;
  if (uid !== undefined || gid !== undefined) return permitToOwner(context, request, capability.CHOWN);
  const times = [atime, mtime].filter((time) => time !== undefined);
  const isTouch = times.length === 2 && times.every(({ kind }) => kind === "now");
  return mode !== undefined || (times.length > 0 && !isTouch) ? permitToOwner(context, request) : undefined;
}
