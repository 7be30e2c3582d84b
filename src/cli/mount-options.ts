/** What may stand behind `brine mount -o`: names, values and their units, and what each means to client and kernel. */
import type { AccessTimes } from "../client/access-times.ts";
import { dirtyOperationsLimit, type WriteBackLimits, writeBackLimits } from "../client/write-back-limits.ts";
import { BrineError } from "../errors/brine-error.ts";
import { linux61Features } from "../fuse/protocol.ts";
import { parseBytes, parseMs, unitBytes } from "./units.ts";

export interface MountSettings {
  readonly readOnly: boolean;
  readonly softTimeoutMs?: number;
  readonly featureMask?: bigint;
  readonly keepNames: boolean;
  /** `nosuid`, `nodev`, `noexec`: the kernel keeps to them. */
  readonly kernelFlags: readonly string[];
  readonly limits: WriteBackLimits;
  readonly accessTimes: AccessTimes;
  readonly allowOther: boolean;
}

/** The values of one option, in its unit. */
interface Values {
  readonly least: number;
  readonly most: number;
  /** How they are written, as `parse` reads them. */
  show(value: number): string;
  /** Undefined: not such a value. */
  parse(text: string): number | undefined;
}

interface MountOption {
  /** `NAME`, or `NAME=VALUE` as it is shown to people. */
  readonly shown: string;
  readonly what: string;
  /** Undefined for a flag. */
  readonly values?: Values;
  set(value: number): Partial<MountSettings>;
  /** For what belongs to the limits, instead. */
  limit?(value: number): Partial<WriteBackLimits>;
}

const mebibyte = 1024 * 1024;

function bytes(least: number, most: number): Values {
  const show = (value: number) => {
    const unit = ["G", "M", "K"].find((one) => value > 0 && value % unitBytes[one]! === 0) ?? "";
    return `${value / unitBytes[unit]!}${unit}`;
  };
  return { least, most, show, parse: parseBytes };
}

function duration(least: number, most: number): Values {
  const show = (value: number) => (value % 1_000 === 0 ? `${value / 1_000}s` : `${value}ms`);
  return { least, most, show, parse: parseMs };
}

function count(least: number, most: number): Values {
  const parse = (text: string) => (/^\d{1,12}$/.test(text) ? Number(text) : undefined);
  return { least, most, show: String, parse };
}

/** By name, in the order in which `--help` shows them. */
const mountOptions = new Map<string, MountOption>([
  ["ro", { shown: "ro", what: "read-only", set: () => ({ readOnly: true }) }],
  ["rw", { shown: "rw", what: "read and write (default)", set: () => ({ readOnly: false }) }],
  [
    "soft",
    {
      shown: "soft=30s",
      what: "operations that wait longer fail with EIO (default: they wait as long as it takes)",
      values: duration(1_000, 86_400_000),
      set: (softTimeoutMs) => ({ softTimeoutMs }),
    },
  ],
  limit(
    "dirty-bytes",
    "bytes that were written and are not on the stores; at the limit writers wait",
    bytes(4 * mebibyte, 65_536 * mebibyte),
    "dirtyBytesMax",
  ),
  limit(
    "dirty-operations",
    "the same for changes of names and attributes",
    count(256, dirtyOperationsLimit),
    "dirtyOperationsMax",
  ),
  limit("dirty-age", "a change is sent at the latest after it", duration(10, 60_000), "dirtyAgeMs"),
  limit("cache-bytes", "bytes of files that are kept to be read again", bytes(0, 65_536 * mebibyte), "cacheBytesMax"),
  accessTimes("relatime", "relative", "times of last access are set when they say something new (default)"),
  accessTimes("strictatime", "strict", "they are set by the first read of each open"),
  accessTimes("noatime", "none", "they aren't set"),
  [
    "mounts-inside",
    {
      shown: "mounts-inside",
      what: "other file systems can be mounted inside; names are then asked for each time",
      set: () => ({ keepNames: false }),
    },
  ],
  [
    "allow_other",
    {
      shown: "allow_other",
      what: "mounted by an ordinary user, for others too (/etc/fuse.conf must say user_allow_other); by root it always is",
      set: () => ({ allowOther: true }),
    },
  ],
  [
    "as-kernel",
    {
      shown: "as-kernel=6.1",
      what: "use no more than Linux 6.1 offers, for tests",
      values: { least: 6.1, most: 6.1, show: String, parse: (text) => (text === "6.1" ? 6.1 : undefined) },
      set: () => ({ featureMask: linux61Features }),
    },
  ],
]);

for (const [flag, what] of [
  ["nosuid", "set-id bits and file capabilities have no effect"],
  ["nodev", "device nodes don't work"],
  ["noexec", "programs can't be run"],
] as const) {
  mountOptions.set(flag, { shown: flag, what, set: () => ({ kernelFlags: [flag] }) });
}

/** In /etc/fstab for mount(8) and systemd, or what is so anyway: `x-…`, too. */
const withoutEffect: ReadonlySet<string> = new Set(
  "defaults auto noauto nofail _netdev user nouser users owner group suid dev exec async atime diratime nodiratime".split(
    " ",
  ),
);

/** The kernel is told, too: it says so to whoever asks it (statvfs(3)). */
function accessTimes(name: string, kept: AccessTimes, what: string): [string, MountOption] {
  return [name, { shown: name, what, set: () => ({ accessTimes: kept, kernelFlags: [name] }) }];
}

function limit(name: string, what: string, values: Values, key: keyof WriteBackLimits): [string, MountOption] {
  const shown = `${name}=${values.show(writeBackLimits[key])}`;
  const set = () => ({});
  return [name, { shown, what: `${what} (default)`, values, set, limit: (value) => ({ [key]: value }) }];
}

/** For `--help`: one line an option. */
export function mountOptionsHelp(): string {
  const shown = [...mountOptions.values()];
  const width = Math.max(...shown.map((option) => option.shown.length)) + 2;
  return shown.map((option) => `  ${option.shown.padEnd(width)}${option.what}`).join("\n");
}

/** `a,b=1` as a list, added to those that came before. */
export function splitMountOptions(text: string, before: readonly string[]): string[] {
  return [...before, ...text.split(",").filter(Boolean)];
}

/** Error: invalid, for an option that is not known and for a value that is not allowed, with what is. */
export function parseMountOptions(options: readonly string[]): MountSettings {
  let settings: MountSettings = {
    readOnly: false,
    keepNames: true,
    kernelFlags: [],
    limits: writeBackLimits,
    accessTimes: "relative",
    allowOther: false,
  };
  for (const text of options) {
    const equals = text.indexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    if (withoutEffect.has(name) || name.startsWith("x-")) continue;
    const option = mountOptions.get(name);
    if (option === undefined) {
      throw new BrineError("invalid", `mount option "${name}" is not known`, {
        advice: `known are ${[...mountOptions.keys()].join(", ")}`,
      });
    }
    const value = parsedValue(name, option, equals < 0 ? undefined : text.slice(equals + 1));
    const set = option.set(value);
    const kernelFlags = [...settings.kernelFlags, ...(set.kernelFlags ?? [])];
    settings = { ...settings, ...set, kernelFlags };
    if (option.limit !== undefined) settings = { ...settings, limits: { ...settings.limits, ...option.limit(value) } };
  }
  return settings;
}

function parsedValue(name: string, { values, shown }: MountOption, text: string | undefined): number {
  if (values === undefined) {
    if (text === undefined) return 0;
    throw new BrineError("invalid", `mount option "${name}" has no value`, { advice: `write "${shown}"` });
  }
  const value = text === undefined ? undefined : values.parse(text);
  if (value !== undefined && value >= values.least && value <= values.most) return value;
  const { least, most, show } = values;
  const allowed = least === most ? show(least) : `${show(least)} to ${show(most)}`;
  throw new BrineError("invalid", `mount option "${name}" can't be "${text ?? ""}"`, {
    advice: `allowed is ${allowed}, for example ${shown}`,
  });
}
