import { useEffect, useRef, useState } from "preact/hooks";

interface FileDropProps {
  readonly base: string;
  readonly isSmall: boolean;
  onFile(file: File): void;
}

/** Takes a file that is dropped anywhere on the page, or chosen with a button. */
export function FileDrop({ base, isSmall, onFile }: FileDropProps) {
  const [hint, setHint] = useState("");
  const place = useRef<HTMLFieldSetElement>(null);
  const take = (files: FileList | null | undefined): void => {
    const [file] = files ?? [];
    setHint(files && files.length > 1 ? "One file at a time." : "");
    if (file !== undefined && files?.length === 1) onFile(file);
  };
  const isOver = useDrop((files) => {
    place.current?.scrollIntoView({ block: "nearest" });
    take(files);
  });
  return (
    <fieldset
      ref={place}
      aria-label="File of examples"
      class={`drop${isOver ? " over" : ""}${isSmall ? " compact" : ""}`}
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

/** Whether files are held over the page. Beside the place for them, a browser would leave the page and show them. */
function useDrop(onFiles: (files: FileList) => void): boolean {
  const [isOver, setOver] = useState(false);
  const call = useRef(onFiles);
  call.current = onFiles;
  useEffect(() => {
    const over = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(false);
      call.current(event.dataTransfer.files);
    };
    const listeners = { dragover: over, dragleave: leave, drop };
    for (const [name, listener] of Object.entries(listeners))
      window.addEventListener(name, listener as EventListener);
    return () => {
      for (const [name, listener] of Object.entries(listeners))
        window.removeEventListener(name, listener as EventListener);
    };
  }, []);
  return isOver;
}
