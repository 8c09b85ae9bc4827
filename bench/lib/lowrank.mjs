/** What the comparisons use of lowrank. */
export { batchOrder } from "../../dist/data/batches.js";
export { loadDataset } from "../../dist/data/dataset.js";
export { encodeDataset } from "../../dist/data/examples.js";
export { evaluate, loadModel, openBase, train } from "../../dist/index.js";
