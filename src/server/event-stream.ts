/** An event as it goes over the wire. */
export function eventText(data: unknown, name?: string): string {
  const head = name === undefined ? "" : `event: ${name}\n`;
  return `${head}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** Server-sent events. Nothing is asked of `events` before the reader wants it, so a slow one holds no more than an event in memory;
 *  a reader that leaves ends them. `onError` is the last event where they fail. */
export function eventStream(events: AsyncGenerator<string>, onError: (error: unknown) => string): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await events.next();
          if (next.done) controller.close();
          else controller.enqueue(encoder.encode(next.value));
        } catch (error) {
          controller.enqueue(encoder.encode(onError(error)));
          controller.close();
        }
      },
      async cancel() {
        await events.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
  // No proxy may collect events before it passes them on.
  const headers = { "cache-control": "no-cache", "x-accel-buffering": "no" };
  return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8", ...headers } });
}

/** The same response, with a call when its last byte was read, or nobody reads any more. */
export function onBodyEnd(response: Response, atEnd: () => void): Response {
  if (response.body === null) {
    atEnd();
    return response;
  }
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
          atEnd();
          controller.close();
        } catch (error) {
          atEnd();
          controller.error(error);
        }
      },
      async cancel(reason) {
        atEnd();
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, response);
}
