import { describe, expect, test } from "vitest";
import { parseKeys } from "../../src/server/access/keys.ts";
import { noLog } from "../../src/server/log.ts";
import { baseNameOf } from "../../src/server/model-names.ts";
import { type ServeOptions, startServer } from "../../src/server/start.ts";
import { errorOf } from "../error-of.ts";
import { fakeEngine } from "./fake-engine.ts";

const options: ServeOptions = {
  baseName: "tiny",
  host: "127.0.0.1",
  port: 0,
  adapters: [],
  keys: [],
  origins: [],
  log: noLog,
};

describe("startServer", () => {
  test("says its address, and the port is free after it has stopped", async () => {
    const server = await startServer(fakeEngine(), options);
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    const port = Number(new URL(server.url).port);
    const taken = await errorOf(startServer(fakeEngine(), { ...options, port }));
    expect(taken).toMatchObject({ code: "listen", message: expect.stringContaining("the port is taken") });
    await server.stop(1000);
    const again = await startServer(fakeEngine(), { ...options, port });
    await again.stop(0);
  });

  test("a name of this machine is needed on loopback; elsewhere a key", async () => {
    const keys = parseKeys(["sk-0123456789abcdef"], "k");
    const server = await startServer(fakeEngine(), { ...options, host: "0.0.0.0", keys });
    const { port } = new URL(server.url);
    expect((await fetch(`http://127.0.0.1:${port}/v1/models`)).status).toBe(401);
    await server.stop(0);
  });

  test("headers and addresses that are too long are refused", async () => {
    const server = await startServer(fakeEngine(), options);
    const response = await fetch(`${server.url}/readyz`, { headers: { "x-long": "x".repeat(20_000) } });
    expect(response.status).toBe(431);
    await server.stop(0);
  });

  test("a folder of adapters that is not there ends the start", async () => {
    expect(
      await errorOf(startServer(fakeEngine(), { ...options, adapters: ["/none/at/all"] })),
    ).toMatchObject({
      code: "not_found",
    });
  });

  test("the base's name is what was asked for; of a path its last part", () => {
    expect(baseNameOf("smollm2-135m")).toBe("smollm2-135m");
    expect(baseNameOf("org/Model-1B")).toBe("org/Model-1B");
    expect(baseNameOf("/models/llama/")).toBe("llama");
    expect(baseNameOf("./m/Model.Q4.gguf")).toBe("Model.Q4");
  });
});
