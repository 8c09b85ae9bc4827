import { configDefaults, defineConfig, type ViteUserConfig } from "vitest/config";

/** Unit tests: no network, no weights but the tiny fixtures, no GPU. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, "test/real-model/**"],
    setupFiles: ["test/no-network.ts"],
    // Tests of the command line start processes; on a busy machine with two cores each takes seconds.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

export default config;
