import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig, type ViteUserConfig } from "vitest/config";

/** Unit tests: no network, no weights but the tiny fixtures, no GPU. */
const config: ViteUserConfig = defineConfig({
  // The experiments import the library by its name, as everybody does.
  resolve: {
    alias: [{ find: /^lowrank$/, replacement: fileURLToPath(new URL("src/index.ts", import.meta.url)) }],
  },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, "test/real-model/**", "test/device/**"],
    setupFiles: ["test/no-network.ts"],
    // The usual number leaves one core of two unused; tests wait for processes and threads most of the time.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Tests of the command line start processes; on a busy machine with two cores each takes seconds.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

export default config;
