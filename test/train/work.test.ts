import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { epochBatches } from "../../src/data/batches.ts";
import { decodeGraph } from "../../src/generate/decoding-graph.ts";
import { matmul } from "../../src/graph/ops/index.ts";
import { apply, input, type Value } from "../../src/graph/value.ts";
import { type DimSizes, dimSize, graphWork } from "../../src/graph/work.ts";
import type { AdaptedModel } from "../../src/peft/use/adapted-model.ts";
import { packBatch } from "../../src/train/batch.ts";
import { evaluationGraph, gradientGraph } from "../../src/train/step-graphs.ts";
import { updateGraph } from "../../src/train/update-graphs.ts";
import { subjectOf } from "../models/harness.ts";
import { smollm2, wordExamples } from "./work-model.ts";

const file = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

// Two rows of 136 tokens, a stem of 31, 112 edges: a batch of 8 of shell-recipes.
const BATCH: DimSizes = { R: 2, T: 136, P: 31, E: 112 };
const OPTIMIZER = {
  optimizer: "adamw",
  momentum: 0,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  clipNorm: 1,
};

function workOf(graph: Record<string, Value>, sizes: DimSizes): object {
  const { nodes, flops, gemmFlops, movedBytes, outputBytes } = graphWork(Object.values(graph), sizes);
  const count = Object.values(nodes).reduce((a, b) => a + b, 0);
  return {
    megaflops: Math.round(flops / 1e6),
    gemmShare: Number((gemmFlops / flops).toFixed(5)),
    movedMegabytes: Math.round(movedBytes / 1e6),
    outputMegabytes: Math.round(outputBytes / 1e6),
    nodes: count,
    nodesByOperator: nodes,
  };
}

function decoding(model: AdaptedModel, tokens: number): object {
  return workOf(decodeGraph(model).each, { R: 1, T: tokens, C: 256, O: 1 });
}

interface Row {
  readonly [field: string]: string;
}

/** One epoch of a data set, in the order and the layout of training. */
async function packing(
  path: string,
  [prompt, completion]: [string, string],
  batchSize: number,
  isGrouped = false,
): Promise<object> {
  const lines = (await readFile(file(path), "utf8")).trimEnd().split("\n");
  const rows = lines.map((line) => JSON.parse(line) as Row);
  const examples = wordExamples(
    rows.map((row) => ({ prompt: row[prompt] as string, completion: row[completion] as string })),
  );
  const model = smollm2({ rank: 8, targetModules: ["q_proj", "v_proj"] });
  const sum = {
    paddedTokens: 0,
    trieTokens: 0,
    packedTokens: 0,
    tokenPairs: 0,
    labels: 0,
    edges: 0,
    shapes: 0,
  };
  const shapes = new Set<string>();
  const order = { count: examples.length, batchSize, seed: 0, epoch: 0 };
  const batchAt = epochBatches(order, isGrouped ? examples : null);
  for (let place = 0; place * batchSize < examples.length; place++) {
    const batch = packBatch(
      Array.from(batchAt(place), (i) => examples[i] as (typeof examples)[number]),
      subjectOf(model),
    );
    sum.paddedTokens += batch.paddedTokens;
    sum.trieTokens += batch.trieTokens;
    sum.packedTokens += batch.rows * batch.length;
    sum.tokenPairs += batch.rows * batch.length * (batch.length + batch.stem);
    sum.labels += batch.labelCount;
    sum.edges += batch.edgeNodes.length;
    shapes.add(`${batch.rows} ${batch.length} ${batch.edgeNodes.length}`);
  }
  return { ...sum, shapes: shapes.size };
}

/** What training, evaluation and decoding cost, by shapes alone. A change is either meant, and then recorded with
 *  `node bench/work.mjs --update`, or a regression. */
test("the work of the graphs and of packing is what bench/results/work.json says", async () => {
  const small = smollm2({ rank: 8, targetModules: ["q_proj", "v_proj"] });
  const all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
  const large = smollm2({ rank: 16, targetModules: all });
  const base = smollm2(null);
  const dense: DimSizes = { R: 4, T: 256, P: 0, E: 1024 };
  const shell: [string, string] = ["prompt", "command"];
  const counted = {
    "training step, rank 8 on q and v, R=2 T=136 P=31 E=112": workOf(gradientGraph(subjectOf(small)), BATCH),
    "training step, rank 8 on q and v, dense R=4 T=256 E=1024": workOf(
      gradientGraph(subjectOf(small)),
      dense,
    ),
    "training step, rank 16 on all linear modules, R=2 T=136 P=31 E=112": workOf(
      gradientGraph(subjectOf(large)),
      BATCH,
    ),
    "update, rank 8 on q and v": workOf(updateGraph(small, OPTIMIZER), {}),
    "evaluation, rank 8 on q and v, R=2 T=136 P=31 E=112": workOf(evaluationGraph(subjectOf(small)), BATCH),
    "prompt of 256 tokens after 256, base": decoding(base, 256),
    "one token after 256, base": decoding(base, 1),
    "one token after 256, rank 16 on all linear modules": decoding(large, 1),
    "packing shell-recipes, batch 8": await packing("data/shell-recipes/train.jsonl", shell, 8),
    "packing shell-recipes, batch 32": await packing("data/shell-recipes/train.jsonl", shell, 32),
    "packing shell-recipes, batch 32, grouped by prefix": await packing(
      "data/shell-recipes/train.jsonl",
      shell,
      32,
      true,
    ),
    "packing us-addresses, batch 8": await packing("data/us-addresses/train.jsonl", ["address", "json"], 8),
    "packing wordnet-nouns, batch 8": await packing(
      "bench/data/wordnet-nouns/train.jsonl",
      ["word", "category"],
      8,
    ),
  };
  await expect(`${JSON.stringify(counted, null, 2)}\n`).toMatchFileSnapshot(file("bench/results/work.json"));
});

test("a product is 2·m·n·k, renamed shapes cost nothing, and names take their sizes", () => {
  const x = input("x", "float32", ["T", 3]);
  const y = matmul(x, input("w", "float32", [5, 3]), { transB: true });
  const z = apply("Reshape", [apply("Exp", [y], y.shape, {}, null)], ["T", 5], {}, null);
  const work = graphWork([z], { T: 4 });
  expect(work.gemmFlops).toBe(2 * 4 * 3 * 5);
  expect(work.flops).toBe(work.gemmFlops + 20);
  expect(work.movedBytes).toBe(4 * (12 + 15 + 20) + 4 * (20 + 20));
  expect(work.nodes).toEqual({ "com.microsoft::FusedMatMul": 1, Exp: 1, Reshape: 1 });
  expect(dimSize("3·T", { T: 4 })).toBe(12);
  expect(dimSize("P+T", { P: 5, T: 4 })).toBe(9);
  expect(() => dimSize("P+T", { T: 4 })).toThrow("no size for the dimension P of P+T");
});
