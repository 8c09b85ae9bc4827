import { InputError, type Problem } from "../../errors.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import type { LoraModule } from "./lora.ts";

/** For relatives of LoRA that adapt linear layers, all with one rank, and nothing else.
 *  @throws InputError listing the embeddings, and the settings of LoRA that they do not have */
export function requirePlain(name: string, lora: LoraConfig, modules: readonly LoraModule[]): void {
  const problems: Problem[] = modules
    .filter((m) => m.kind === "embedding")
    .map((m) => ({ where: m.name, message: "is an embedding: only linear layers" }));
  const refuse = (where: string, isGiven: boolean, why = ""): void => {
    if (isGiven) problems.push({ where, message: `${name} does not have it${why}` });
  };
  refuse("bias", lora.bias !== "none");
  const head =
    lora.taskType === "SEQ_CLS" ? `, and an encoder's head (${lora.modulesToSave.join(", ")}) needs it` : "";
  refuse("modulesToSave", lora.modulesToSave.length > 0, head);
  refuse("rsLora", lora.rsLora);
  refuse("rankPattern", Object.keys(lora.rankPattern).length > 0);
  refuse("alphaPattern", Object.keys(lora.alphaPattern).length > 0);
  if (problems.length > 0) throw new InputError(`${name} does not fit these options`, problems);
}
