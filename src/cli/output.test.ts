import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import { oneLine, plain } from "./output.ts";

test("what others say can't steer the terminal", () => {
  assert.equal(
    plain("host \x1b[2J\x9b\r\nall is well\u202e"),
    "host \\u001b[2J\\u009b\\u000d\\u000aall is well\\u202e",
  );
  assert.equal(plain("█ grün … 日本"), "█ grün … 日本");
  assert.equal(oneLine(new BrineError("invalid", "a\x1bb\nc", { advice: "d" })), "a\\u001bb c: d");
});
