import { useState } from "preact/hooks";

interface FileDropProps {
  readonly base: string;
  readonly isSmall: boolean;
  onFile(file: File): void;
}

/** Takes a file that is dropped, or chosen with a button. */
export function FileDrop({ base, isSmall, onFile }: FileDropProps) {
  const [isOver, setOver] = useState(false);
  const [hint, setHint] = useState("");
  const take = (files: FileList | null | undefined): void => {
    const [file] = files ?? [];
    setHint(files && files.length > 1 ? "One file at a time." : "");
    if (file !== undefined && files?.length === 1) onFile(file);
  };
  return (
    <fieldset
      aria-label="File of examples"
      class={`drop${isOver ? " over" : ""}${isSmall ? " compact" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer?.files);
      }}
    >
      <label class="button">
        {isSmall ? "Choose another file" : "Choose a file"}
        <input
          type="file"
          class="unseen"
          onChange={(event) => {
            take(event.currentTarget.files);
            event.currentTarget.value = ""; // the same file, corrected, is a change too
          }}
        />
      </label>
      <p>{isSmall ? "or drop one here." : `or drop one here, to train ${base} on it.`}</p>
      {!isSmall && (
        <p class="facts wide">
          One example a line (JSON Lines): chats, or prompts with completions. CSV and Parquet are read too.
        </p>
      )}
      <p class="error" role="alert">
        {hint}
      </p>
    </fieldset>
  );
}
