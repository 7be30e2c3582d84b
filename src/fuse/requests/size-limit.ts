/**
 * RLIMIT_FSIZE (getrlimit(2)) of truncate and fallocate that let a file grow. The kernel sees to it, but not as long as it goes by an
 * enormous size (kernel-sizes.ts), to which nothing grows.
 */
import { type Soon, whenThere } from "../../client/soon.ts";
import { FileError } from "../../errors/file-error.ts";
import type { Request } from "../request.ts";
import { inodeOf, type RequestContext } from "./context.ts";

/** Resolves when the file may become so large. Errors: EFBIG, and the process has got SIGXFSZ. */
export function withinSizeLimit(context: RequestContext, request: Request, sizeBytes: number): Soon<void> {
  const { sizes, tasks, fileSystem } = context;
  if (!sizes.mayBeEnormous(request.node) || sizeBytes <= tasks.fileSizeMax(request.task)) return;
  const looking = fileSystem.getAttributes(inodeOf(context, request), request.signal);
  return whenThere(looking, ({ attributes }) => {
    if (sizeBytes <= attributes.size) return;
    tasks.signalFileSize(request.task);
    throw new FileError("EFBIG", "the file would be larger than the process' files may be");
  });
}
