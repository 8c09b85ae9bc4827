import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Tests on the real model, which the first of them fetches (98 MB). They take the whole machine one after the other. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/model/**/*.model.test.ts"],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});

export default config;
