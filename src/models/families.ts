import { UnsupportedError } from "../errors.ts";
import { bert } from "./bert.ts";
import type { Family } from "./family.ts";
import { gemma3 } from "./gemma3.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { roberta } from "./roberta.ts";

/** Every model family, one line each. */
const FAMILIES: readonly Family[] = [llama, qwen2, qwen3, gemma3, phi3, gpt2, bert, roberta];

/** Family by name. @throws UnsupportedError listing the known ones. */
export function familyOf(name: string): Family {
  const family = FAMILIES.find((f) => f.name === name);
  if (!family)
    throw new UnsupportedError(
      `unknown model family "${name}"; known: ${FAMILIES.map((f) => f.name).join(", ")}`,
    );
  return family;
}
