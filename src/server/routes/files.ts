import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { z } from "zod";
import { fileObject, listOf } from "../jobs/answer-schema.ts";
import { noFile } from "../jobs/delete-files.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { fileAnswer, listAnswer } from "../jobs/objects.ts";
import { receiveFile } from "../jobs/upload.ts";
import { LIFETIME_SECONDS, PURPOSE } from "../jobs/upload-form.ts";
import type { ServerParts } from "../parts.ts";
import { readQuery } from "../query.ts";
import { type RequestContext, type Route, route } from "../route.ts";

const form = z.object({
  file: z.string().meta({ format: "binary" }),
  purpose: z.literal(PURPOSE),
  expires_after: z
    .strictObject({
      anchor: z.literal("created_at"),
      seconds: z.int().min(LIFETIME_SECONDS.min).max(LIFETIME_SECONDS.max),
    })
    .optional()
    .describe("when the file is deleted by itself, unless a job that has not ended needs it; default: never"),
});

const listQuery = z.strictObject({
  after: z.string().min(1).max(100).optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000),
  order: z.enum(["asc", "desc"]).default("desc"),
  purpose: z.string().min(1).max(100).optional(),
});

const deleted = z.object({ id: z.string(), object: z.literal("file"), deleted: z.literal(true) });

/** /v1/files: what jobs are trained on. */
export function fileRoutes({ jobs }: ServerParts): readonly Route[] {
  if (jobs === null) return [];
  const { files } = jobs.folder;
  const idOf = (c: RequestContext): string => c.req.param("id") ?? "";
  return [
    route({
      method: "post",
      path: "/v1/files",
      summary: "Upload a file of examples",
      body: null,
      form,
      answer: fileObject,
      handle: async (c) =>
        Response.json(fileAnswer(await receiveFile(c.req.raw, jobs.folder, jobs.maxFileBytes))),
    }),
    route({
      method: "get",
      path: "/v1/files",
      summary: "List files, the newest first",
      body: null,
      query: listQuery,
      answer: listOf(fileObject),
      handle: (c) => {
        const { purpose, ...page } = readQuery(c, listQuery);
        return Response.json(listAnswer(files.list(page, purpose), fileAnswer));
      },
    }),
    route({
      method: "get",
      path: "/v1/files/{id}/content",
      summary: "The content of a file",
      body: null,
      answer: null,
      handle: (c) => content(jobs, idOf(c)),
    }),
    route({
      method: "get",
      path: "/v1/files/{id}",
      summary: "Describe a file",
      body: null,
      answer: fileObject,
      handle: (c) => {
        const file = files.get(idOf(c));
        if (file === null) throw noFile(idOf(c));
        return Response.json(fileAnswer(file));
      },
    }),
    route({
      method: "delete",
      path: "/v1/files/{id}",
      summary: "Delete a file",
      body: null,
      answer: deleted,
      handle: async (c) => {
        await jobs.deleteFile(idOf(c));
        return Response.json({ id: idOf(c), object: "file", deleted: true });
      },
    }),
  ];
}

function content({ folder }: Jobs, id: string): Response {
  const file = folder.files.get(id);
  if (file === null) throw noFile(id);
  const stream = createReadStream(folder.filePath(file));
  const name = encodeURIComponent(file.filename);
  return new Response(Readable.toWeb(stream) as unknown as ReadableStream, {
    headers: {
      "content-type": "application/octet-stream",
      "content-length": String(file.bytes),
      "content-disposition": `attachment; filename*=UTF-8''${name}`,
    },
  });
}
