import { z } from "zod";
import { refusal } from "../body.ts";
import { streamFailure } from "../errors.ts";
import { eventStream } from "../event-stream.ts";
import { checkpointObject, eventObject, jobObject, listOf } from "../jobs/answer-schema.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { liveEvents } from "../jobs/live-events.ts";
import { checkpointAnswer, eventAnswer, jobAnswer, listAnswer } from "../jobs/objects.ts";
import { previewObject } from "../jobs/preview-schema.ts";
import { jobBody } from "../jobs/schema.ts";
import { requestEnd } from "../lifecycle.ts";
import type { ServerParts } from "../parts.ts";
import { readQuery } from "../query.ts";
import { type RequestContext, type Route, route } from "../route.ts";

const JOBS = "/v1/fine_tuning/jobs";

const after = z.string().min(1).max(100).optional();

const pageQuery = z.strictObject({ after, limit: z.coerce.number().int().min(1).max(1000).default(20) });

/** Also `metadata[key]=value`, as the openai package writes it. */
const jobsQuery = pageQuery.loose();

const eventsQuery = pageQuery.extend({
  stream: z
    .enum(["true", "false"])
    .default("false")
    .describe("true: events as they come, the oldest first, until the job has ended"),
});

/** /v1/fine_tuning/jobs: training on uploaded files, as OpenAI has it. */
export function jobRoutes(parts: ServerParts): readonly Route[] {
  const { jobs } = parts;
  if (jobs === null) return [];
  return [...lists(jobs, parts), ...actions(jobs), preview(jobs, parts), ...jobsThemselves(jobs, parts)];
}

const idOf = (c: RequestContext): string => c.req.param("id") ?? "";

function jobsThemselves(jobs: Jobs, parts: ServerParts): Route[] {
  return [
    route({
      method: "post",
      path: JOBS,
      summary: "Start a fine-tuning job",
      body: jobBody,
      answer: jobObject,
      handle: async (c, body) => {
        const key = c.req.header("idempotency-key") ?? null;
        const { signal, end } = requestEnd(c, parts);
        try {
          return Response.json(jobAnswer(await jobs.create(body, checkedKey(key), signal)));
        } finally {
          end();
        }
      },
    }),
    route({
      method: "get",
      path: JOBS,
      summary: "List jobs, the newest first",
      body: null,
      query: jobsQuery,
      answer: listOf(jobObject),
      handle: (c) => {
        const { after, limit, ...rest } = readQuery(c, jobsQuery);
        const page = { after, limit, order: "desc" } as const;
        return Response.json(listAnswer(jobs.folder.jobs.list(page, metadataOf(rest)), jobAnswer));
      },
    }),
    route({
      method: "get",
      path: `${JOBS}/{id}`,
      summary: "Describe a job",
      body: null,
      answer: jobObject,
      handle: (c) => Response.json(jobAnswer(jobs.get(idOf(c)))),
    }),
  ];
}

function preview(jobs: Jobs, parts: ServerParts): Route {
  return route({
    method: "post",
    path: `${JOBS}/preview`,
    summary:
      "What a job would do: its first examples, plan, estimated time and memory, or what is wrong with its files",
    body: jobBody,
    answer: previewObject,
    handle: async (c, body) => {
      const { signal, end } = requestEnd(c, parts);
      try {
        return Response.json(await jobs.preview(body, signal));
      } finally {
        end();
      }
    },
  });
}

const ACTIONS = [
  ["cancel", "End a job; what it has learned so far stays in its checkpoints"],
  ["pause", "Stop a job with a checkpoint"],
  ["resume", "Go on with a paused job from its checkpoint"],
] as const;

function actions(jobs: Jobs): Route[] {
  return ACTIONS.map(([name, summary]) =>
    route({
      method: "post",
      path: `${JOBS}/{id}/${name}`,
      summary,
      body: null,
      answer: jobObject,
      handle: (c) => Response.json(jobAnswer(jobs[name](idOf(c)))),
    }),
  );
}

function lists(jobs: Jobs, parts: ServerParts): Route[] {
  const { events } = jobs.folder;
  return [
    route({
      method: "get",
      path: `${JOBS}/{id}/events`,
      summary: "What happened to a job, the newest first",
      body: null,
      query: eventsQuery,
      answer: listOf(eventObject),
      event: eventObject,
      handle: (c) => {
        const { stream, after, limit } = readQuery(c, eventsQuery);
        const { id } = jobs.get(idOf(c));
        if (stream === "true") return live(c, jobs, id, after, parts);
        return Response.json(listAnswer(events.list(id, { after, limit, order: "desc" }), eventAnswer));
      },
    }),
    route({
      method: "get",
      path: `${JOBS}/{id}/checkpoints`,
      summary: "Checkpoints of a job, the newest first; each is a model",
      body: null,
      query: pageQuery,
      answer: listOf(checkpointObject),
      handle: (c) => {
        const { after, limit } = readQuery(c, pageQuery);
        const { id } = jobs.get(idOf(c));
        return Response.json(
          listAnswer(events.listCheckpoints(id, { after, limit, order: "desc" }), checkpointAnswer),
        );
      },
    }),
  ];
}

/** Ends with the job, its client or the server: a stream may be open for as long as a job runs. */
function live(
  c: RequestContext,
  jobs: Jobs,
  id: string,
  after: string | undefined,
  { stopping }: ServerParts,
): Response {
  const end = new AbortController();
  const abort = (): void => end.abort();
  const client = c.req.raw.signal;
  for (const signal of [client, stopping]) signal.addEventListener("abort", abort, { once: true });
  if (client.aborted || stopping.aborted) abort();
  c.get("atEnd").push(() => {
    abort();
    for (const signal of [client, stopping]) signal.removeEventListener("abort", abort);
  });
  return eventStream(liveEvents(jobs, id, after, end.signal), (error) => streamFailure(c, error));
}

function metadataOf(rest: Readonly<Record<string, unknown>>): Record<string, string> {
  const pairs = Object.entries(rest).map(([name, value]) => {
    const key = /^metadata\[(.{1,64})\]$/.exec(name)?.[1];
    if (key === undefined) throw refusal([{ where: name, message: "there is no such field" }]);
    return [key, String(value)];
  });
  return Object.fromEntries(pairs);
}

function checkedKey(key: string | null): string | null {
  if (key === null || (key.length > 0 && key.length <= 255)) return key;
  throw refusal([{ where: "Idempotency-Key", message: "expected 1 to 255 characters" }]);
}
