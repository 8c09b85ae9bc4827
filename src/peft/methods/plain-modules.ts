import { InputError, type Problem } from "../../errors.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import type { LoraModule } from "./lora-plan.ts";

/** For relatives of LoRA that adapt linear layers, all with one rank, and nothing else.
 *  @throws InputError listing the embeddings, and what must be trained whole, which they cannot */
export function requirePlain(name: string, lora: LoraConfig, modules: readonly LoraModule[]): void {
  const problems: Problem[] = modules
    .filter((m) => m.kind === "embedding")
    .map((m) => ({ where: m.name, message: "is an embedding: only linear layers" }));
  if (lora.modulesToSave.length > 0) {
    const message = `${name} does not have it, and an encoder's head (${lora.modulesToSave.join(", ")}) needs it`;
    problems.push({ where: "modulesToSave", message });
  }
  if (problems.length > 0) throw new InputError(`${name} does not fit these options`, problems);
}
