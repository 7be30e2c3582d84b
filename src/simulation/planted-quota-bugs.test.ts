/** The checkers can fail: bugs of quotas are planted, and each must be found. */
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { blockBytes } from "../namespace/model.ts";
import { grantQuota } from "../wire/catalogue/quotas.ts";
import { mustBeFound, withFileSystem, withService } from "./testing/planting.ts";

test("the leader forgets what clients have used and not committed", async () => {
  const hooks = () =>
    withService((service) => {
      service.plant(grantQuota, (real) => (body, ...rest) => {
        const held = { ...body.held, amount: { bytes: 0, inodes: 0 } };
        return real({ ...body, held }, ...rest);
      });
    });
  await mustBeFound(hooks, /usage stays within quotas/, { quotas: true });
});

test("the leader grants more than is left", async () => {
  const hooks = () =>
    withService((service) => {
      service.plant(grantQuota, (real) => async (...asked) => {
        const answer = await real(...asked);
        if ("payload" in answer) return answer;
        const { bytes, inodes } = answer;
        return { ...answer, bytes: bytes && bytes + 4096, inodes: inodes === 0 ? 1 : inodes };
      });
    });
  await mustBeFound(hooks, /usage stays within quotas/, { quotas: true });
});

test("a call that is refused has an effect all the same", async () => {
  const hooks = () =>
    withFileSystem((real) => ({
      create: async (...asked) => {
        await real.create(...asked);
        throw new FileError("EDQUOT", "planted");
      },
    }));
  await mustBeFound(hooks, /refused has no effect|not linearizable/, { quotas: true });
});

test("a write says that it was made shorter than it was", async () => {
  const hooks = () =>
    withFileSystem((real) => ({
      write: async (handle, offset, bytes, ...rest) => {
        const written = await real.write(handle, offset, bytes, ...rest);
        const lastBlock = Math.floor((offset + written - 1) / blockBytes) * blockBytes;
        return lastBlock > offset ? lastBlock - offset : written;
      },
    }));
  await mustBeFound(hooks, /not linearizable/, { quotas: true, more: ["append", "read"] });
});
