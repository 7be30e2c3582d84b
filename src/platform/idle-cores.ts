/**
 * Whether idle cores sleep at once although that is expensive here: in a virtual machine under KVM a core that sleeps is given
 * back to the host, and waking it takes some 50 µs, which each request to a mount then costs twice. The guest can poll a
 * little before it sleeps (Documentation/virt/guest-halt-polling.rst), if its administrator says for how long.
 */
import { readFileSync } from "node:fs";

const setting = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";

/** What to tell about it; undefined where it is no virtual machine, or polls. */
export function idleCoresHint(): string | undefined {
  try {
    if (readFileSync(setting, "latin1").trim() !== "0") return undefined;
  } catch {
    return undefined;
  }
  return `idle cores of this virtual machine sleep at once, which makes small files several times slower (as root: echo 200000 > ${setting})`;
}
