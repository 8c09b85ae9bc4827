import type { AdapterInfo } from "../src/server/dashboard/shapes.ts";
import type { PartProps } from "./app.tsx";
import { checkpointsText, isCheckpoint } from "./checkpoints.ts";
import { bytes, count, loss, NOT_KNOWN, short } from "./text.ts";

/** What is loaded beside the base. */
export function Adapters({ view: { status } }: PartProps) {
  if (status === null) return <p>Waiting for the server.</p>;
  if (status.adapters.length === 0)
    return (
      <p>
        {status.hasFolders ? (
          "The folders of --adapters hold none yet. A training run's adapter shows up when it is done."
        ) : (
          <>
            None. Start the server with <code>--adapters FOLDER</code> to load those of a folder.
          </>
        )}
      </p>
    );
  const checkpoints = status.adapters.filter(({ name }) => isCheckpoint(name));
  const others = status.adapters.filter(({ name }) => !isCheckpoint(name));
  return (
    <>
      {others.length > 0 && <Table adapters={others} />}
      {checkpoints.length > 0 && (
        <details>
          <summary>{checkpointsText(checkpoints.length)}</summary>
          <Table adapters={checkpoints} />
        </details>
      )}
    </>
  );
}

function Table({ adapters }: { readonly adapters: readonly AdapterInfo[] }) {
  return (
    <table class="stack">
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Method</th>
          <th scope="col">Rank</th>
          <th scope="col">Parameters</th>
          <th scope="col">Size</th>
          <th scope="col">Trained on</th>
          <th scope="col">Held-out loss</th>
        </tr>
      </thead>
      <tbody>
        {adapters.map((adapter) => (
          <Row key={adapter.name} adapter={adapter} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ adapter }: { readonly adapter: AdapterInfo }) {
  const { name, methods, rank, parameters, sizeBytes } = adapter;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td data-label="Method">{methods.join(" + ")}</td>
      <td data-label="Rank">{rank}</td>
      <td data-label="Parameters" title={count(parameters)}>
        {short(parameters)}
      </td>
      <td data-label="Size">{sizeBytes === null ? NOT_KNOWN : bytes(sizeBytes)}</td>
      <td data-label="Trained on">{trainedOn(adapter)}</td>
      <td data-label="Held-out loss">{lossChange(adapter)}</td>
    </tr>
  );
}

function trainedOn({ trainedOn: data, examples }: AdapterInfo): string {
  if (data === null) return NOT_KNOWN;
  return examples === null ? data : `${data} (${count(examples)} examples)`;
}

function lossChange({ lossBefore, lossAfter }: AdapterInfo): string {
  if (lossAfter === null) return NOT_KNOWN;
  return lossBefore === null ? loss(lossAfter) : `${loss(lossBefore)} → ${loss(lossAfter)}`;
}
