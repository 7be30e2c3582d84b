/** Sizes and times as options write them: `128M`, `200ms`, `10m`. */

const mebibyte = 1024 * 1024;
export const unitBytes: Readonly<Record<string, number>> = {
  "": 1,
  K: 1024,
  M: mebibyte,
  G: 1024 * mebibyte,
  T: 1024 ** 2 * mebibyte,
};
const unitCounts: Readonly<Record<string, number>> = { "": 1, K: 1_000, M: 1_000_000, G: 1_000_000_000 };
const unitMs: Readonly<Record<string, number>> = { ms: 1, "": 1_000, s: 1_000, m: 60_000 };

/** Undefined for what is no size. */
export function parseBytes(text: string): number | undefined {
  return withUnit(text, /^(\d{1,12})([KMGT])?(?:iB)?$/, unitBytes);
}

/** A number of things: `50K` are 50,000. Undefined for what is no number. */
export function parseCount(text: string): number | undefined {
  return withUnit(text, /^(\d{1,12})([KMG])?$/, unitCounts);
}

/** Undefined for what is no time; without a unit it is seconds. */
export function parseMs(text: string): number | undefined {
  return withUnit(text, /^(\d{1,9})(ms|s|m)?$/, unitMs);
}

function withUnit(text: string, pattern: RegExp, units: Readonly<Record<string, number>>): number | undefined {
  const match = pattern.exec(text);
  return match === null ? undefined : Number(match[1]) * units[match[2] ?? ""]!;
}
