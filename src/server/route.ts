import type { Context } from "hono";
import type { z } from "zod";
import type { LogFields } from "./log.ts";

/** What goes with a request through the server. */
export interface RequestEnv {
  Variables: {
    /** Also in the header `x-request-id`. */
    id: string;
    /** Run when the last byte of the answer is sent, or the client is gone. */
    atEnd: (() => void)[];
    /** What the log says of it. */
    note: Record<string, LogFields[string]>;
  };
}

export type RequestContext = Context<RequestEnv>;

/** One operation. Validation and the OpenAPI description derive from its schemas. */
export interface Route<S extends z.ZodType = z.ZodType> {
  readonly method: "get" | "post" | "delete";
  /** As OpenAPI writes it: `/v1/models/{id}`. */
  readonly path: string;
  /** Its parameter may hold slashes. */
  readonly takesSlashes?: boolean;
  readonly summary: string;
  /** Schema of the JSON body; null: none is read. */
  readonly body: S | null;
  /** Schema of a multipart form, which `handle` reads as it comes, whatever its size. */
  readonly form?: z.ZodType;
  /** Schema of the query, which `handle` reads with `readQuery`. */
  readonly query?: z.ZodObject;
  /** Schema of the JSON answer; null: plain text. */
  readonly answer: z.ZodType | null;
  /** Schema of an event where the answer can be a stream. */
  readonly event?: z.ZodType;
  /** Needs no key. */
  readonly isOpen?: boolean;
  /** For people: not part of `/openapi.json`. */
  readonly isPage?: boolean;
  readonly handle: (context: RequestContext, body: z.output<S>) => Response | Promise<Response>;
}

/** A route among others, its body's type forgotten. */
export function route<S extends z.ZodType>(one: Route<S>): Route {
  return one as unknown as Route;
}
