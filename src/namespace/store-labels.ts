/** Labels of stores: `host=alpha`, `disk=ssd`. */
import type { Label } from "./model.ts";

interface Target {
  readonly replicas: number;
  readonly labels: readonly Label[];
}

const keyPattern = /^[A-Za-z0-9._-]{1,64}$/;

/** True for `wanted` that are all there. */
export function hasLabels(labels: readonly Label[], wanted: readonly Label[]): boolean {
  return wanted.every(({ key, value }) => labels.some((one) => one.key === key && one.value === value));
}

export function isLabelKey(key: string): boolean {
  return keyPattern.test(key);
}

/** `labels` with `changes` in it, in the order of keys. An empty value takes a label away. */
export function changedLabels(labels: readonly Label[], changes: readonly Label[]): Label[] {
  const byKey = new Map(labels.map(({ key, value }) => [key, value]));
  for (const { key, value } of changes) {
    if (value === "") byKey.delete(key);
    else byKey.set(key, value);
  }
  return sorted(byKey);
}

/** What `after` has otherwise than `before`, as changes. */
export function labelChanges(before: readonly Label[], after: readonly Label[]): Label[] {
  const gone = before.filter(({ key }) => !after.some((one) => one.key === key)).map(({ key }) => ({ key, value: "" }));
  return [...gone, ...after.filter((one) => !hasLabels(before, [one]))];
}

/** The same labels in an order of their own: two lists of the same say the same. */
export function sortedLabels(labels: readonly Label[]): Label[] {
  return sorted(new Map(labels.map(({ key, value }) => [key, value])));
}

/** Whether two placement rules, or pools, want their files in the same groups. */
export function asksTheSame(left: Target, right: Target): boolean {
  const labels = ({ labels }: Target) => JSON.stringify(sortedLabels(labels));
  return left.replicas === right.replicas && labels(left) === labels(right);
}

/** `disk=ssd rack=r1`. */
export function labelsText(labels: readonly Label[]): string {
  return labels.map(({ key, value }) => `${key}=${value}`).join(" ");
}

function sorted(byKey: ReadonlyMap<string, string>): Label[] {
  return [...byKey]
    .map(([key, value]) => ({ key, value }))
    .sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0));
}
