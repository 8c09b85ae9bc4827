import { dirname } from "node:path";
import { createAdapterReader } from "../dashboard/adapters.ts";
import { shownJobOptions } from "../dashboard/job-options.ts";
import { readJobs, withFileNames } from "../dashboard/jobs.ts";
import { PAGE_FILES, pageFile } from "../dashboard/page.ts";
import { createRunReader } from "../dashboard/runs.ts";
import { dashboardStatus, jobOptions, runCurve } from "../dashboard/schema.ts";
import type { DashboardStatus } from "../dashboard/shapes.ts";
import { HttpError } from "../errors.ts";
import type { ServerParts } from "../parts.ts";
import { type Route, route } from "../route.ts";

const NO_STORE = { headers: { "cache-control": "no-store" } };

/** GET / (a page for people) and what it reads: /dashboard/status, /dashboard/job-options, /dashboard/runs/{id}. The page needs no key, what it reads does. */
export function dashboardRoutes(parts: ServerParts): readonly Route[] {
  const readAdapters = createAdapterReader();
  const runs = createRunReader(
    parts.library?.folders ?? [],
    parts.jobs && dirname(parts.jobs.folder.runPath("any")),
  );
  const status = async (): Promise<DashboardStatus> => {
    const { engine, baseName, library } = parts;
    const [adapters, { runs: listed, leftOut }, jobs] = await Promise.all([
      readAdapters(engine.adapters),
      runs.list(),
      parts.jobs && readJobs(parts.jobs, runs),
    ]);
    const load = {
      ...engine.status,
      memoryBytes: process.memoryUsage.rss(),
      uptimeMs: process.uptime() * 1000,
    };
    return {
      base: baseName,
      contextLength: engine.contextLength,
      hasFolders: library !== null,
      load,
      adapters: parts.jobs === null ? adapters : withFileNames(adapters, parts.jobs),
      runs: listed,
      runsLeftOut: leftOut,
      jobs,
    };
  };
  return [
    ...pageRoutes(),
    route({
      method: "get",
      path: "/dashboard/status",
      summary: "Load, adapters, fine-tuning jobs and training runs",
      body: null,
      answer: dashboardStatus,
      handle: async () => Response.json(await status(), NO_STORE),
    }),
    ...(parts.jobs === null ? [] : [jobOptionsRoute()]),
    route({
      method: "get",
      path: "/dashboard/runs/{id}",
      takesSlashes: true,
      summary: "Loss curves of a training run",
      body: null,
      answer: runCurve,
      handle: async (c) => {
        const curve = await runs.curve(c.req.param("id") ?? "");
        if (curve !== null) return Response.json(curve, NO_STORE);
        throw new HttpError(404, "run_not_found", "there is no such run", { type: "not_found_error" });
      },
    }),
  ];
}

function jobOptionsRoute(): Route {
  return route({
    method: "get",
    path: "/dashboard/job-options",
    summary: "Training options that the dashboard offers",
    body: null,
    answer: jobOptions,
    handle: () => Response.json(shownJobOptions(), NO_STORE),
  });
}

function pageRoutes(): Route[] {
  return Object.keys(PAGE_FILES).map((path) =>
    route({
      method: "get",
      path,
      summary: "The dashboard",
      body: null,
      answer: null,
      isOpen: true,
      isPage: true,
      handle: () => pageFile(path as keyof typeof PAGE_FILES),
    }),
  );
}
