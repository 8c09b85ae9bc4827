interface ValidationFileProps {
  /** Of the chosen one; null: none is. */
  readonly name: string | null;
  onFile(file: File | null): void;
}

/** Takes a file to measure the loss on, which is not trained on. */
export function ValidationFile({ name, onFile }: ValidationFileProps) {
  return (
    <div class="field">
      <span id="validation-label">Validation file</span>
      <div class="row">
        <label class="button quiet">
          {name === null ? "Choose" : "Change"}
          <input
            type="file"
            name="validation"
            class="unseen"
            aria-labelledby="validation-label"
            aria-describedby="validation-help"
            onChange={(event) => {
              const [file] = event.currentTarget.files ?? [];
              if (file !== undefined) onFile(file);
              event.currentTarget.value = ""; // the same file, corrected, is a change too
            }}
          />
        </label>
        {name !== null && (
          <button type="button" class="quiet" onClick={() => onFile(null)}>
            Remove
          </button>
        )}
      </div>
      <span id="validation-help" class="facts">
        {name ?? "none: a part of the examples can be held out instead"}
      </span>
    </div>
  );
}
