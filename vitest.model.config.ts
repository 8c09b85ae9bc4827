import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Tests on real models, which the first of them fetch (98, 238 and 84 MB). They take the whole machine one after the other. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/real-model/**/*.model.test.ts"],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});

export default config;
