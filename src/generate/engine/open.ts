import { UnsupportedError } from "../../errors.ts";
import type { Engine, EngineOptions } from "./engine.ts";

/** Stands in until the engine is there. @throws UnsupportedError always */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  throw new UnsupportedError(`there is no engine yet to serve ${options.model}`);
}
