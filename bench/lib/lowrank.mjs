/** The built package: `npm run build` first. */
export * from "../../dist/index.js";
