import { useState } from "preact/hooks";
import type { PartProps } from "./app.tsx";
import { Jobs } from "./jobs.tsx";
import { NewJob } from "./new-job.tsx";

/** Fine-tuning jobs: a new one from a file, and those that there are. */
export function FineTune({ view: { status }, lookNow, compare }: PartProps) {
  const [chosen, setChosen] = useState<string | null>(null);
  if (status === null) return <p>Waiting for the server.</p>;
  if (status.jobs === null)
    return (
      <p>
        This server takes no jobs: it was started with <code>--max-jobs 0</code>.
      </p>
    );
  const show = (id: string): void => {
    setChosen(id);
    lookNow();
  };
  return (
    <>
      <NewJob base={status.base} onStarted={show} />
      <Jobs
        base={status.base}
        models={status.adapters.map(({ name }) => name)}
        jobs={status.jobs}
        chosen={chosen}
        onChosen={setChosen}
        onChanged={lookNow}
        onCompare={compare}
      />
    </>
  );
}
