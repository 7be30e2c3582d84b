/**
 * Mounting as an ordinary user: fusermount3(1), which is setuid root, checks that the user may (the directory is his), mounts,
 * and passes the descriptor of /dev/fuse back over a socket that it was given (_FUSE_COMMFD).
 *
 * The kernel then serves nobody but this user, unless /etc/fuse.conf says `user_allow_other` and it is asked for; set-id bits
 * and devices never work.
 *
 * Uses child_process and fs directly: it is a way out to the kernel.
 */
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { BrineError } from "../../errors/brine-error.ts";
import { openSocketPair, takePassedDescriptor } from "../../platform/passed-descriptor.ts";
import { dataBytesMax } from "../protocol.ts";

export interface UserMountOptions {
  readonly directory: string;
  /** First field of /proc/mounts. */
  readonly source: string;
  readonly readOnly: boolean;
  readonly allowOther: boolean;
  readonly kernelFlags: readonly string[];
  readonly nonBlocking: boolean;
}

const program = "fusermount3";
const timeoutMs = 10_000;
/** Words of mount(8) that it doesn't know: the first is what the kernel does anyway. */
const notForUsers: ReadonlySet<string> = new Set(["relatime", "strictatime"]);

/** Mounts, and returns the descriptor. Errors: BrineError `refused` with what fusermount3 said. */
export async function mountAsUser(options: UserMountOptions): Promise<number> {
  const words = [
    // A comma would end the word, a backslash takes its meaning away.
    `fsname=${options.source.replace(/[\\,]/g, "\\$&")}`,
    "default_permissions",
    `max_read=${dataBytesMax}`,
    options.readOnly ? "ro" : "rw",
    ...(options.allowOther ? ["allow_other"] : []),
    ...options.kernelFlags.filter((flag) => !notForUsers.has(flag)),
  ];
  const sockets = openSocketPair();
  try {
    await run(["-o", words.join(","), "--", options.directory], `can't mount on ${options.directory}`, sockets.theirs);
  } catch (error) {
    closeSync(sockets.ours);
    throw error;
  } finally {
    closeSync(sockets.theirs);
  }
  const descriptor = takePassedDescriptor(sockets.ours, options);
  if (descriptor === undefined) throw new BrineError("refused", `${program} has mounted, but passed no descriptor`);
  return descriptor;
}

/** Takes the topmost mount off, although files on it may be open. Errors: BrineError `refused`. */
export function unmountAsUser(directory: string): Promise<void> {
  return run(["-u", "-z", "--", directory], `can't unmount ${directory}`);
}

function run(args: readonly string[], what: string, socket?: number): Promise<void> {
  const child = spawn(program, args, {
    stdio: ["ignore", "ignore", "pipe", ...(socket === undefined ? [] : [socket])],
    env: { ...process.env, _FUSE_COMMFD: "3" },
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "ENOENT"
          ? new BrineError("refused", `${what}: there is no ${program}`, {
              advice: "install it (apt-get install fuse3), or mount as root",
              cause: error,
            })
          : new BrineError("refused", `${what}: ${error.message}`, { cause: error }),
      ),
    );
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new BrineError("refused", `${what}: ${said.trim() || `${program} ended with ${signal ?? code}`}`));
    });
  });
}
