import type { Engine } from "../../src/generate/engine/engine.ts";
import type { LoadedModel } from "../../src/generate/model.ts";

/** A loaded model as an engine that answers one request at a time, to try routes on a model before there is an engine. */
export function engineOf(model: LoadedModel, contextLength: number): Engine {
  let [waiting, promptTokens, generatedTokens] = [0, 0, 0];
  let isRunning = false;
  let last: Promise<void> = Promise.resolve();
  const turn = async (): Promise<() => void> => {
    const before = last;
    let release = (): void => undefined;
    last = new Promise((resolve) => {
      release = resolve;
    });
    waiting++;
    await before;
    waiting--;
    isRunning = true;
    return () => {
      isRunning = false;
      release();
    };
  };
  return {
    base: model.base,
    contextLength,
    get adapters() {
      return model.adapters;
    },
    get status() {
      return { running: isRunning ? 1 : 0, waiting, promptTokens, generatedTokens };
    },
    async *generate({ adapters = {}, ...request }) {
      const release = await turn();
      try {
        await model.weights(adapters);
        const result = yield* model.generate(request);
        promptTokens += result.promptTokens;
        generatedTokens += result.ids.length;
        return result;
      } finally {
        release();
      }
    },
    loadAdapter: async (name, path) => {
      if (Object.hasOwn(model.adapters, name)) await model.unload(name);
      await model.load(name, path);
    },
    unloadAdapter: (name) => model.unload(name),
    close: () => model.close(),
  };
}
