import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { Compare } from "./compare.tsx";
import { Data } from "./data.tsx";
import { downloadAdapter } from "./download.ts";
import type { ModelChoice, Reply, Request, Settings } from "./messages.ts";
import { Model } from "./model.tsx";
import { next, START } from "./state.ts";
import { Train } from "./train.tsx";

/** The worker, and what it said so far. */
function useWorker() {
  const [state, happen] = useReducer(next, START);
  const worker = useRef<Worker | null>(null);
  useEffect(() => {
    const made = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    made.onmessage = ({ data }: MessageEvent<Reply>) => {
      if (data.kind === "adapter") downloadAdapter(data.files);
      happen(data);
    };
    made.onerror = ({ message }) => happen({ kind: "error", message: message || "the worker failed" });
    worker.current = made;
    return () => made.terminate();
  }, []);
  const send = (request: Request): void => worker.current?.postMessage(request);
  return { state, happen, send };
}

/** The page: four parts, one after the other. */
export function App() {
  const { state, happen, send } = useWorker();
  const [file, setFile] = useState<File | null>(null);
  const [prompt, setPrompt] = useState("");

  const open = (model: ModelChoice, device: "wasm" | "webgpu"): void => {
    happen({ kind: "begun", what: "opening the model", forgets: "all" });
    send({ kind: "open", model, device, file });
  };
  const choose = async (chosen: File): Promise<void> => {
    setFile(chosen);
    setPrompt(await firstPrompt(chosen));
    happen({ kind: "begun", what: "reading the rows", forgets: "run" });
    send({ kind: "preview", file: chosen });
  };
  const train = (settings: Settings): void => {
    if (file === null) return;
    happen({ kind: "begun", what: "reading the rows", forgets: "run" });
    send({ kind: "train", file, settings });
  };
  const compare = (): void => {
    happen({ kind: "begun", what: "answering", forgets: "nothing" });
    send({ kind: "compare", prompt });
  };

  return (
    <>
      <header>
        <h1>Fine-tune a language model in the browser</h1>
        <p>Nothing leaves this page: model, rows and adapter stay on your machine.</p>
      </header>
      <p class="status" role="status">
        {state.busy === null ? "Ready" : `${state.busy} …`}
      </p>
      {state.error !== null && (
        <p class="error" role="alert">
          {state.error}
        </p>
      )}
      <Model facts={state.facts} isBusy={state.busy !== null} onOpen={open} />
      <Data
        file={file}
        rows={state.rows}
        isBusy={state.busy !== null || state.facts === null}
        onFile={choose}
      />
      <Train
        state={state}
        isReady={file !== null && state.rows.length > 0 && state.busy === null}
        onTrain={train}
        onStop={() => send({ kind: "stop" })}
      />
      <Compare
        state={state}
        prompt={prompt}
        onPrompt={setPrompt}
        onCompare={compare}
        onDownload={() => send({ kind: "adapter" })}
      />
    </>
  );
}

/** What the first row asks, to begin with. */
async function firstPrompt(file: File): Promise<string> {
  const [line = ""] = (await file.slice(0, 65_536).text()).split("\n");
  try {
    const { messages, prompt } = JSON.parse(line) as {
      messages?: readonly { role: string; content: string }[];
      prompt?: string;
    };
    return messages?.find(({ role }) => role === "user")?.content ?? prompt ?? "";
  } catch {
    return "";
  }
}
