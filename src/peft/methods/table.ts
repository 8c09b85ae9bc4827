import { InputError, UnsupportedError } from "../../errors.ts";
import { architectureOf } from "../../formats/architectures/table.ts";
import { ownersOf, type SettingsOf } from "../../options/setting.ts";
import type { Method } from "../method.ts";
import { LANGUAGE_MODELLING, type MethodKind, type TrainingUse } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { adaLoraKind } from "./adalora.ts";
import type { AdaLoraOptions } from "./adalora-options.ts";
import { adapterHoulsbyKind } from "./adapter-houlsby.ts";
import { adapterLinKind } from "./adapter-lin.ts";
import { adapterPfeifferKind } from "./adapter-pfeiffer.ts";
import { bitfitKind } from "./bitfit.ts";
import type { BottleneckOptions } from "./bottleneck.ts";
import { doraKind } from "./dora.ts";
import { fullKind } from "./full.ts";
import { type Ia3Options, ia3Kind } from "./ia3.ts";
import { type IntrinsicOptions, intrinsicKind } from "./intrinsic.ts";
import { loraKind } from "./lora-kind.ts";
import type { LoraOptions } from "./lora-options.ts";
import { type LoraPlusOptions, loraPlusKind } from "./lora-plus.ts";
import { oloraKind } from "./olora.ts";
import { pissaKind } from "./pissa.ts";
import { prefixEmbeddingKind } from "./prefix-embedding.ts";
import { prefixLayerKind } from "./prefix-layer.ts";
import type { PrefixTuningOptions, VirtualTokenOptions } from "./prefix-options.ts";
import { prefixTuningKind } from "./prefix-tuning.ts";
import { rsLoraKind } from "./rslora.ts";
import { type VeraOptions, veraKind } from "./vera.ts";

/** Every method, one line each. */
const METHODS: readonly MethodKind[] = [
  loraKind,
  doraKind,
  rsLoraKind,
  loraPlusKind,
  pissaKind,
  oloraKind,
  veraKind,
  adaLoraKind,
  prefixEmbeddingKind,
  prefixLayerKind,
  prefixTuningKind,
  fullKind,
  bitfitKind,
  adapterHoulsbyKind,
  adapterPfeifferKind,
  adapterLinKind,
  ia3Kind,
  intrinsicKind,
];

/** Options of all methods; each method reads its own. */
export interface MethodOptions
  extends LoraOptions,
    LoraPlusOptions,
    VeraOptions,
    AdaLoraOptions,
    BottleneckOptions,
    Ia3Options,
    IntrinsicOptions,
    VirtualTokenOptions,
    PrefixTuningOptions {}

/** The settings of all methods, by option; one that several have is the same in each. */
export const methodSettings: SettingsOf<MethodOptions> = Object.assign(
  {},
  ...METHODS.map((m) => m.settings),
) as SettingsOf<MethodOptions>;

/** The methods that have an option; none for options of other things. */
export function methodsWith(option: string): readonly string[] {
  return ownersOf(METHODS, option);
}

/** Names of the methods of a combination such as "lora+prefix-embedding". */
export function namesIn(combination: string): readonly string[] {
  return combination.split("+").map((n) => n.trim());
}

/** PEFT's names of the methods that it has. */
const PEFT_TYPES = [...new Set(METHODS.flatMap((m) => m.peftType ?? []))].join(", ");

/** Names of all methods, for help and errors. */
export const METHOD_NAMES: readonly string[] = METHODS.map((m) => m.name);

/** Methods of a combination such as "lora+prefix-embedding", in that order.
 *  @throws InputError listing the names that are unknown or given twice, with the known ones; and methods that train the
 *  same thing */
export function createMethods(
  combination: string,
  options: MethodOptions,
  shape: ModelShape,
  use: TrainingUse = LANGUAGE_MODELLING,
): Method[] {
  const names = namesIn(combination);
  const problems = names.flatMap((name, i) => {
    if (names.indexOf(name) !== i) return [{ where: "method", message: `"${name}" is given twice` }];
    if (METHOD_NAMES.includes(name)) return [];
    return [{ where: "method", message: `there is no method "${name}"; known: ${METHOD_NAMES.join(", ")}` }];
  });
  if (problems.length > 0) throw new InputError("the methods cannot be combined", problems);
  const methods = names.map((name) =>
    (METHODS.find((m) => m.name === name) as MethodKind).create(options, shape, use),
  );
  checkDistinct(methods);
  return methods;
}

function checkDistinct(methods: readonly Method[]): void {
  const owners = new Map<string, Method>();
  const clashes = new Map<string, string>();
  for (const method of methods)
    for (const { name } of method.trainables) {
      const owner = owners.get(name);
      const pair = `${owner?.name}+${method.name}`;
      if (!owner) owners.set(name, method);
      else if (!clashes.has(pair)) clashes.set(pair, `both train ${name}`);
    }
  const problems = [...clashes].map(([where, message]) => ({ where, message }));
  if (problems.length > 0) throw new InputError("the methods cannot be combined", problems);
}

/** PEFT's methods that adapt the usual modules of an architecture where a configuration names none. */
const WITH_USUAL_TARGETS: readonly unknown[] = ["LORA", "ADALORA", "VERA"];

/** A configuration with the modules that PEFT takes where `target_modules` is null or missing. */
function withUsualTargets(
  config: Readonly<Record<string, unknown>>,
  { config: { family } }: ModelShape,
  where: string,
): { readonly complete: Readonly<Record<string, unknown>>; readonly warnings: readonly string[] } {
  const isNamed = (config.target_modules ?? null) !== null || (config.target_parameters ?? null) !== null;
  const { peftTargets } = architectureOf(family);
  if (isNamed || peftTargets === undefined || !WITH_USUAL_TARGETS.includes(config.peft_type))
    return { complete: config, warnings: [] };
  const warning = `${where}: target_modules is not given: ${peftTargets.join(", ")}, as PEFT has it for ${family}`;
  return { complete: { ...config, target_modules: peftTargets }, warnings: [warning] };
}

/** The method that an adapter's configuration names: PEFT's `peft_type` or our `lowrank_method`.
 *  @throws UnsupportedError for one that is not known, InputError for a configuration that does not hold */
export function openMethod(
  config: Readonly<Record<string, unknown>>,
  shape: ModelShape,
  where: string,
): { readonly method: Method; readonly warnings: readonly string[] } {
  const { lowrank_method: own, peft_type: peft } = config;
  const kind = METHODS.find((m) =>
    own === undefined ? m.peftType !== null && m.peftType === peft : m.name === own,
  );
  if (kind) {
    const { complete, warnings } = withUsualTargets(config, shape, where);
    const opened = kind.open(complete, shape, where);
    return { ...opened, warnings: [...warnings, ...opened.warnings] };
  }
  if (own === undefined && typeof peft === "string")
    throw new UnsupportedError(`${where}: peft_type "${peft}" is not supported; supported: ${PEFT_TYPES}`);
  // LoRA's reader knows what else a file may be, and says so.
  if (own === undefined) return loraKind.open(config, shape, where);
  throw new UnsupportedError(`${where}: unknown method "${String(own)}"; known: ${METHOD_NAMES.join(", ")}`);
}
