import type { z } from "zod";
import { checked } from "./body.ts";
import type { RequestContext } from "./route.ts";

/** The query of a request, checked. @throws HttpError 400 with everything that is wrong */
export function readQuery<S extends z.ZodObject>(c: RequestContext, schema: S): z.output<S> {
  return checked(c.req.query(), schema);
}
