import type { PartProps } from "./app.tsx";
import { Facts } from "./facts.tsx";
import type { StatusView } from "./status.ts";
import { bytes, count, duration, rate } from "./text.ts";

/** How busy the server is. */
export function Load({ view }: PartProps) {
  if (view.status === null) return <p>Waiting for the server.</p>;
  const { running, waiting, promptTokens, generatedTokens, memoryBytes, uptimeMs } = view.status.load;
  const facts: readonly (readonly [string, string])[] = [
    ["Running", count(running)],
    ["Waiting", count(waiting)],
    ["Generating", rate(generatedPerSecond(view))],
    ["Tokens generated", count(generatedTokens)],
    ["Tokens of prompts", count(promptTokens)],
    ["Memory", bytes(memoryBytes)],
    ["Up for", duration(uptimeMs)],
  ];
  return <Facts facts={facts} />;
}

/** Between the last two looks. */
function generatedPerSecond({ status, atMs, previous }: StatusView): number {
  if (status === null || previous === null) return 0;
  const tokens = status.load.generatedTokens - previous.status.load.generatedTokens;
  return Math.max(0, tokens) / Math.max(0.001, (atMs - previous.atMs) / 1000);
}
