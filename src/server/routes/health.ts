import { HttpError } from "../errors.ts";
import type { ServerParts } from "../parts.ts";
import { type Route, route } from "../route.ts";

/** GET /healthz (the process answers), /readyz (it takes requests), /metrics (Prometheus). */
export function healthRoutes({ stopping, metrics }: ServerParts): readonly Route[] {
  const { registry } = metrics;
  return [
    route({
      method: "get",
      path: "/healthz",
      summary: "Whether the server lives",
      body: null,
      answer: null,
      isOpen: true,
      handle: () => new Response("ok\n"),
    }),
    route({
      method: "get",
      path: "/readyz",
      summary: "Whether the server takes requests",
      body: null,
      answer: null,
      isOpen: true,
      handle: () => {
        if (stopping.aborted)
          throw new HttpError(503, "server_stopping", "the server stops", { mayRetry: true });
        return new Response("ok\n");
      },
    }),
    route({
      method: "get",
      path: "/metrics",
      summary: "Metrics in Prometheus's text format",
      body: null,
      answer: null,
      handle: async () =>
        new Response(await registry.metrics(), { headers: { "content-type": registry.contentType } }),
    }),
  ];
}
