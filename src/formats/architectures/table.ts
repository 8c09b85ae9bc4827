import { UnsupportedError } from "../../errors.ts";
import type { Architecture, GgufArchitecture, HfConfig, Naming } from "./architecture.ts";
import { bert } from "./bert.ts";
import { gemma3 } from "./gemma3.ts";
import { gpt2 } from "./gpt2.ts";
import { llama, mistral } from "./llama.ts";
import { phi3 } from "./phi3.ts";
import { qwen2, qwen3 } from "./qwen.ts";
import { roberta } from "./roberta.ts";

/** Every architecture that can be opened. */
const ARCHITECTURES: readonly Architecture[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma3,
  phi3,
  gpt2,
  bert,
  roberta,
];

const listed = (names: readonly string[]): string => [...new Set(names)].join(", ");

/** The architecture that config.json names; by `model_type` where it names none.
 *  @throws UnsupportedError listing the known ones. */
export function hfArchitecture(file: string, named: readonly string[], modelType: unknown): Architecture {
  const known =
    ARCHITECTURES.find(({ name, otherNames = [] }) => [name, ...otherNames].some((n) => named.includes(n))) ??
    ARCHITECTURES.find((a) => named.length === 0 && a.modelType === modelType);
  if (known) return known;
  const got = named.length > 0 ? named.join(", ") : `model_type ${JSON.stringify(modelType ?? null)}`;
  throw new UnsupportedError(
    `${file}: architecture ${got} is not supported; known: ${listed(ARCHITECTURES.map((a) => a.name))}`,
  );
}

/** The architecture of a GGUF file by its `general.architecture`.
 *  @throws UnsupportedError listing the known ones. */
export function ggufArchitecture(
  file: string,
  name: unknown,
): Architecture & { readonly gguf: GgufArchitecture } {
  for (const architecture of ARCHITECTURES) {
    const { gguf } = architecture;
    if (gguf?.name === name && gguf) return { ...architecture, gguf };
  }
  throw new UnsupportedError(
    `${file}: architecture ${JSON.stringify(name ?? null)} is not supported; known: ` +
      listed(ARCHITECTURES.flatMap((a) => a.gguf?.name ?? [])),
  );
}

/** What GGUF files call a model family. @throws UnsupportedError listing the families that they know. */
export function ggufOf(family: string): GgufArchitecture {
  const gguf = ARCHITECTURES.find((a) => a.family === family && a.gguf !== null)?.gguf;
  if (gguf) return gguf;
  throw new UnsupportedError(
    `GGUF files of ${family} models cannot be written or read; known: ` +
      listed(ARCHITECTURES.filter((a) => a.gguf !== null).map((a) => a.family)),
  );
}

/** Fields of config.json with which a plain model of an architecture (its class in transformers) has a bias in every linear
 *  layer but the head; null where it has no such fields. */
export function allBiasesConfig(architecture: string): HfConfig | null {
  return ARCHITECTURES.find((a) => a.name === architecture)?.allBiases ?? null;
}

/** Names of a model family. @throws UnsupportedError listing the known ones. */
export function namesOf(family: string): Naming {
  return architectureOf(family).names;
}

/** The architecture that a model family's own files name. @throws UnsupportedError listing the known families */
export function architectureOf(family: string): Architecture {
  const architecture = ARCHITECTURES.find((a) => a.family === family);
  if (architecture) return architecture;
  throw new UnsupportedError(
    `no tensor names are known for the model family "${family}"; known: ${listed(ARCHITECTURES.map((a) => a.family))}`,
  );
}
