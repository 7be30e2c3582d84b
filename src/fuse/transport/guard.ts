/**
 * Cuts the connection to the kernel when this process dies.
 *
 * Usually the kernel does that itself, when the last thread has let go of /dev/fuse. But a thread that is telling the kernel
 * to forget pages may be waiting for an answer that will never come, and can't be killed; programs on the mount would
 * wait for ever. So a shell is told by the kernel when our main thread dies (PR_SET_PDEATHSIG, prctl(2)), and writes to
 * the connection's `abort` (fusectl, Documentation/filesystems/fuse.rst). It costs a megabyte.
 *
 * Uses child_process directly: it is a way out to the kernel. Without setpriv(1) or fusectl (systemd mounts it; else we
 * try) there is no guard.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";

const control = "/sys/fs/fuse/connections";
/** mount(8) of a file system without a disk. */
const mountTimeoutMs = 5_000;

/** Waits for the end of its input or for the signal, whichever comes first. */
const script = 'trap : USR1; exec 3<&0; cat <&3 >/dev/null & wait $!; kill $! 2>/dev/null; echo 1 > "$0"';

export interface Guard {
  /** The connection has ended as it should. */
  dismiss(): void;
}

/** @param device `major:minor` of the mounted file system */
export async function startGuard(device: string): Promise<Guard | undefined> {
  const abort = `${control}/${device.split(":")[1]}/abort`;
  if (!existsSync(abort)) await mountControl();
  if (!existsSync(abort)) return undefined;
  // Detached: what is sent to our process group (Ctrl-C) is not meant for it.
  const shell: ChildProcess = spawn("setpriv", ["--pdeathsig", "USR1", "/bin/sh", "-c", script, abort], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  shell.on("error", () => {});
  shell.stdin!.on("error", () => {});
  shell.unref();
  // Once it is aborted or unmounted there is nothing at this path any more, so an end of the input does no harm.
  return { dismiss: () => shell.stdin!.destroy() };
}

function mountControl(): Promise<void> {
  return new Promise((resolve) => {
    execFile("mount", ["-t", "fusectl", "fusectl", control], { timeout: mountTimeoutMs }, () => resolve());
  });
}
