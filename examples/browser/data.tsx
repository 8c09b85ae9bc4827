import type { PreviewSpan } from "lowrank/browser";
import { useState } from "preact/hooks";

interface Props {
  readonly file: File | null;
  readonly rows: readonly PreviewSpan[][];
  readonly isBusy: boolean;
  readonly onFile: (file: File) => void;
}

/** The rows to learn from, as the model reads them. */
export function Data({ file, rows, isBusy, onFile }: Props) {
  const [isOver, setOver] = useState(false);
  const take = (files: FileList | null | undefined): void => {
    const [first] = files ?? [];
    if (first) onFile(first);
  };
  return (
    <section aria-labelledby="data">
      <h2 id="data">2. Rows</h2>
      <label
        class={`drop${isOver ? " over" : ""}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          if (!isBusy) take(event.dataTransfer?.files);
        }}
      >
        <span>
          {file === null ? "Drop a JSONL, JSON, CSV or Parquet file here, or choose one" : file.name}
        </span>
        <input
          type="file"
          accept=".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.txt"
          disabled={isBusy}
          onChange={(event) => take(event.currentTarget.files)}
        />
      </label>
      {rows.length > 0 && (
        <>
          <p class="facts">
            The first {rows.length} rows as the model reads them. <mark>Marked text is learned</mark>, the
            rest is only read.
          </p>
          <ol class="rows">
            {rows.map((spans, i) => (
              <li key={i}>
                {spans.map(({ text, isLabel }, j) => (isLabel ? <mark key={j}>{text}</mark> : text))}
              </li>
            ))}
          </ol>
        </>
      )}
    </section>
  );
}
