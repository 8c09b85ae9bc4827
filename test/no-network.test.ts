import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:tls";
import { expect, test } from "vitest";

test("unit tests cannot reach the network, only this machine", async () => {
  const message = "a unit test reaches for the network: example.com";
  const refused = await fetch("https://example.com").catch((error: Error) => error.cause);
  expect(refused).toMatchObject({ message });
  expect(() => connect(443, "example.com")).toThrow(message);
  const server = createServer((_request, response) => response.end("here")).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe("here");
  server.close();
});
