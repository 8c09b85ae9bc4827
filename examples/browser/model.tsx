import type { DirectoryHandle } from "lowrank/browser";
import { useEffect, useState } from "preact/hooks";
import type { ModelChoice, ModelFacts } from "./messages.ts";

interface Props {
  readonly facts: ModelFacts | null;
  readonly isBusy: boolean;
  readonly onOpen: (model: ModelChoice, device: "wasm" | "webgpu") => void;
}

const hasWebGpu = "gpu" in navigator;
const pickFolder = (globalThis as { showDirectoryPicker?: () => Promise<DirectoryHandle> })
  .showDirectoryPicker;

/** Which model, from where, computed by what. */
export function Model({ facts, isBusy, onOpen }: Props) {
  const [url, setUrl] = useState("");
  const [device, setDevice] = useState<"wasm" | "webgpu">("wasm");
  const [served, setServed] = useState<Served | null>(null);
  useEffect(() => {
    void servedModel().then((found) => {
      setServed(found);
      if (found) setUrl(found.address);
    });
  }, []);
  const pick = async (): Promise<void> => {
    const handle = await pickFolder?.().catch(() => null); // the user closed the dialog
    if (handle) onOpen({ kind: "folder", handle }, device);
  };
  return (
    <section aria-labelledby="model">
      <h2 id="model">1. Model</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const name = served?.address === url ? served.name : undefined;
          onOpen({ kind: "url", url: new URL(url, document.baseURI).href, name }, device);
        }}
      >
        <label class="wide">
          Address of a Hugging Face folder or a .gguf file
          <input
            type="text"
            value={url}
            required
            placeholder="model/"
            onInput={(event) => setUrl(event.currentTarget.value)}
          />
        </label>
        <button type="submit" disabled={isBusy}>
          Open
        </button>
      </form>
      <div class="line">
        {pickFolder === undefined ? (
          <FolderInput isBusy={isBusy} onFiles={(files) => onOpen({ kind: "files", files }, device)} />
        ) : (
          <button type="button" class="plain" disabled={isBusy} onClick={() => void pick()}>
            Choose a folder …
          </button>
        )}
        <fieldset class="line" disabled={isBusy}>
          <legend class="unseen">Compute by</legend>
          {(["wasm", "webgpu"] as const).map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="device"
                checked={device === name}
                disabled={name === "webgpu" && !hasWebGpu}
                onChange={() => setDevice(name)}
              />
              {name === "wasm" ? "WebAssembly" : "WebGPU"}
            </label>
          ))}
        </fieldset>
      </div>
      {facts && (
        <p class="facts">
          <b>{facts.name}</b>: {facts.architecture}, {facts.layers} layers, by{" "}
          {facts.device === "wasm" ? `WebAssembly with ${facts.threads} threads` : "WebGPU"}
        </p>
      )}
    </section>
  );
}

function FolderInput({ isBusy, onFiles }: { isBusy: boolean; onFiles: (files: File[]) => void }) {
  return (
    <label>
      Or a folder{" "}
      <input
        type="file"
        disabled={isBusy}
        {...{ webkitdirectory: true }}
        onChange={(event) => onFiles([...(event.currentTarget.files ?? [])])}
      />
    </label>
  );
}

interface Served {
  readonly address: string;
  readonly name: string;
}

/** The model that the server offers; null where it offers none. */
async function servedModel(): Promise<Served | null> {
  const response = await fetch("model.json").catch(() => null);
  if (!response?.ok) return null;
  return (await response.json().catch(() => null)) as Served | null;
}
