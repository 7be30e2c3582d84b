/**
 * Mount points of this process's mount namespace: what is mounted where, mounting, unmounting.
 *
 * Uses fs and child_process directly: it is a way out to the kernel. mount(8) and umount(8) run as children, since both
 * system calls may wait for this very process to answer requests.
 */
import { execFile, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { BrineError } from "../../errors/brine-error.ts";
import { dataBytesMax } from "../protocol.ts";
import { unmountAsUser } from "./fusermount.ts";

export interface MountEntry {
  /** `major:minor` of its file system: names one mounted file system as long as it exists. */
  readonly device: string;
  readonly directory: string;
  readonly type: string;
  readonly source: string;
}

/** Both may ask a file system that no longer answers. After umount(8) did, the caller cuts the connection. */
const commandTimeoutMs = 10_000;

/** All mounts, the topmost of a directory last (/proc/self/mountinfo, proc(5)). */
export async function listMounts(): Promise<MountEntry[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}

export function parseMountInfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    // id parent major:minor root directory options [optional fields…] - type source options
    const [before, after] = line.split(" - ");
    const [, , device, , directory] = (before ?? "").split(" ");
    const [type, source] = (after ?? "").split(" ");
    if (device === undefined || directory === undefined || type === undefined || source === undefined) continue;
    entries.push({ device, directory: unescapeField(directory), type, source: unescapeField(source) });
  }
  return entries;
}

/** Space, tab, newline and backslash stand as three octal digits. */
function unescapeField(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

export interface MountOptions {
  /** Of /dev/fuse. The kernel refuses to read it before mount(2) has returned. */
  readonly descriptor: number;
  readonly directory: string;
  /** First field of /proc/mounts. */
  readonly source: string;
  readonly readOnly: boolean;
  readonly kernelFlags: readonly string[];
}

/** Mounts as type `fuse`, without a subtype. Errors: BrineError `refused` with what mount(8) said. */
export function runMount(options: MountOptions): Promise<void> {
  const words = [
    "fd=3",
    "rootmode=40000",
    `user_id=${process.getuid?.() ?? 0}`,
    `group_id=${process.getgid?.() ?? 0}`,
    "allow_other",
    "default_permissions",
    `max_read=${dataBytesMax}`,
    options.readOnly ? "ro" : "rw",
    ...options.kernelFlags,
  ];
  const args = ["-i", "-t", "fuse", "-o", words.join(","), "--", options.source, options.directory];
  const child = spawn("mount", args, {
    stdio: ["ignore", "ignore", "pipe", options.descriptor],
    timeout: commandTimeoutMs,
    killSignal: "SIGKILL",
  });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise((resolve, reject) => {
    const refuse = (reason: string) =>
      reject(
        new BrineError("refused", `can't mount on ${options.directory}: ${reason}`, {
          advice: "mounting needs root (or CAP_SYS_ADMIN in the container)",
        }),
      );
    child.on("error", (error) => refuse(error.message));
    child.on("close", (code, signal) =>
      code === 0 ? resolve() : refuse(said.trim() || `mount ended with ${signal ?? code}`),
    );
  });
}

/** Mounts by system calls of its own; others go through fusermount3 (fusermount.ts). */
export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/**
 * Takes the topmost mount off the directory, at once, although files on it may be open (umount -l). Errors: BrineError
 * `refused` with what umount(8) or fusermount3(1) said, `timedOut`.
 */
export function runUnmount(directory: string): Promise<void> {
  if (!isRoot()) return unmountAsUser(directory);
  return new Promise((resolve, reject) => {
    const args = ["-l", "-c", "--", directory];
    execFile("umount", args, { timeout: commandTimeoutMs, killSignal: "SIGKILL" }, (error, _, said) => {
      if (error === null) resolve();
      else if (error.killed) reject(new BrineError("timedOut", `umount of ${directory} does not end`));
      else reject(new BrineError("refused", `can't unmount ${directory}: ${said.trim() || error.message}`));
    });
  });
}
