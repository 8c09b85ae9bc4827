/** What is compared with PEFT: tiny models of test/fixtures/models, and for each kind of adapter how lowrank trains it and how
 *  PEFT makes it. A new kind is one entry; one whose `method` lowrank does not have is left out and named. */

const LLAMA_LIKE = { first: "q_proj", second: "down_proj", embedding: "embed_tokens", head: "lm_head" };
const NAMES = {
  llama: LLAMA_LIKE,
  "llama-sharded": LLAMA_LIKE,
  qwen2: LLAMA_LIKE,
  qwen3: LLAMA_LIKE,
  gemma3: LLAMA_LIKE,
  phi3: { ...LLAMA_LIKE, first: "qkv_proj" },
  gpt2: { first: "c_attn", second: "c_fc", embedding: "wte", head: "lm_head" },
};
const EVERY = ["llama", "qwen2", "qwen3", "gpt2", "gemma3", "phi3"];
const LORA = { r: 3, lora_alpha: 6, target_modules: "all-linear" };
const SCALED = ["lora", "dora", "rslora", "pissa", "olora", "adalora"];
const TOKENS = { num_virtual_tokens: 3 };

/** GPT-2 stores its linear weights [in, out]; PEFT wants to be told. */
const orientation = (model) => (model === "gpt2" ? { fan_in_fan_out: true } : {});

function kind(peftType, variant, models, method, options, config, how = {}) {
  const of = (value, model) => (typeof value === "function" ? value(NAMES[model], model) : value);
  return models.map((model) => ({
    name: [peftType, variant, model].filter(Boolean).join("-").replaceAll(" ", "-"),
    peftType,
    variant,
    model,
    method,
    train: { method, ...(SCALED.includes(method) ? { rank: 3, alpha: 6 } : {}), ...of(options, model) },
    // PEFT decomposes GPT-2's weights as they lie, [in, out], and cannot run what comes of it.
    peft:
      peftType === "LORA" && variant === "olora" && model === "gpt2"
        ? null
        : { config: of(config, model), ...how },
  }));
}

const lora = (variant, models, method, options, config, how) =>
  kind(
    "LORA",
    variant,
    models,
    method,
    options,
    (names, model) => {
      const own = typeof config === "function" ? config(names, model) : config;
      return { ...LORA, ...orientation(model), ...own };
    },
    how,
  );

export const CASES = [
  ...lora("", EVERY, "lora", {}, {}),
  ...lora("DoRA", ["llama", "qwen2", "gpt2", "gemma3", "phi3"], "dora", {}, { use_dora: true }),
  ...lora("rsLoRA", ["qwen3", "gpt2", "phi3"], "rslora", {}, { use_rslora: true }),
  ...lora(
    "patterns",
    ["llama", "gpt2", "phi3"],
    "lora",
    ({ first, second }) => ({ rankPattern: { [first]: 5 }, alphaPattern: { [second]: 3 } }),
    ({ first, second }) => ({ rank_pattern: { [first]: 5 }, alpha_pattern: { [second]: 3 } }),
  ),
  ...lora(
    "modules to save",
    ["llama", "phi3", "gpt2"],
    "lora",
    ({ head }) => ({ modulesToSave: [head] }),
    ({ head }) => ({ modules_to_save: [head] }),
  ),
  ...lora(
    "embeddings",
    ["llama", "gpt2", "gemma3"],
    "lora",
    ({ first, embedding }) => ({ targetModules: [embedding, first] }),
    ({ first, embedding }) => ({ target_modules: [embedding, first] }),
  ),
  ...lora("all biases", ["llama-sharded", "qwen2", "gpt2"], "lora", { bias: "all" }, { bias: "all" }),
  ...lora("its biases", ["qwen2", "gpt2"], "lora", { bias: "lora_only" }, { bias: "lora_only" }),
  ...lora("lora bias", ["llama", "llama-sharded", "gpt2"], "lora", { loraBias: true }, { lora_bias: true }),
  ...["pissa", "olora"].flatMap((init) =>
    lora(init, ["llama", "qwen3", "gpt2"], init, {}, { init_lora_weights: init }, { residual: init }),
  ),
  ...kind("IA3", "", ["llama", "qwen2", "gpt2", "gemma3"], "ia3", {}, (names, model) => ({
    target_modules: [...(model === "gpt2" ? ["c_attn"] : ["k_proj", "v_proj"]), names.second],
    feedforward_modules: [names.second],
    ...orientation(model),
  })),
  ...kind("PREFIX_TUNING", "", EVERY, "prefix-tuning", { prefixLength: 3 }, TOKENS),
  ...kind(
    "PREFIX_TUNING",
    "projection",
    ["llama", "gpt2"],
    "prefix-tuning",
    { prefixLength: 3, prefixProjection: 6 },
    { ...TOKENS, prefix_projection: true, encoder_hidden_size: 6 },
  ),
  ...kind("PROMPT_TUNING", "", EVERY, "prefix-embedding", { prefixLength: 3, infixLength: 0 }, TOKENS),
  ...kind("VERA", "", ["llama", "qwen2", "gpt2", "phi3"], "vera", { rank: 5 }, (_names, model) => ({
    r: 5,
    target_modules: "all-linear",
    ...orientation(model),
  })),
  ...kind(
    "ADALORA",
    "",
    ["llama", "qwen3", "gpt2", "phi3"],
    "adalora",
    { rank: 4, targetRank: 2 },
    (names, model) => ({
      ...{ init_r: 4, target_r: 2, lora_alpha: 6, target_modules: [names.first, names.second] },
      ...{ tinit: 1, tfinal: 1, deltaT: 2, total_step: 5, ...orientation(model) },
    }),
  ),
];
