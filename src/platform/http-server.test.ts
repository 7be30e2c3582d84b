import { strict as assert } from "node:assert";
import { connect } from "node:net";
import { test } from "node:test";
import { serveTexts } from "./http-server.ts";

test("serves the texts that there are, to GET and HEAD", async (context) => {
  const server = await serveTexts("127.0.0.1:0", (path) =>
    path === "/metrics" ? { contentType: "text/plain; charset=utf-8", text: "größe 1\n" } : undefined,
  );
  context.after(() => server.close());
  assert.match(server.address, /^127\.0\.0\.1:\d+$/);
  const url = `http://${server.address}`;
  const found = await fetch(`${url}/metrics?x=1`);
  assert.equal(found.headers.get("content-type"), "text/plain; charset=utf-8");
  assert.equal(await found.text(), "größe 1\n");
  assert.equal((await fetch(`${url}/metrics`, { method: "HEAD" })).status, 200);
  assert.equal((await fetch(`${url}/other`)).status, 404);
  assert.equal((await fetch(`${url}/metrics`, { method: "POST", body: "x" })).status, 405);
  await assert.rejects(
    serveTexts(server.address, () => undefined),
    { code: "EADDRINUSE" },
  );
});

test("whoever keeps silent connections open shuts nobody out", async (context) => {
  const server = await serveTexts("127.0.0.1:0", () => ({ contentType: "text/plain", text: "fine\n" }));
  context.after(() => server.close());
  const port = Number(server.address.split(":")[1]);
  let ended = 0;
  for (let count = 0; count < 40; count++) {
    await new Promise<void>((done) => {
      const socket = connect(port, "127.0.0.1", () => socket.write("GET /", () => done()));
      socket.on("error", () => {});
      socket.on("close", () => ended++);
    });
  }
  const response = await fetch(`http://${server.address}/`, { headers: { connection: "close" } });
  assert.equal(await response.text(), "fine\n");
  assert.ok(ended >= 8, `${ended} were ended`);
});
