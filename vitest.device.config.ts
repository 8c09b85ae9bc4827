import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Tests on devices that a machine may have. Where one is not there they are skipped, and say why. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/device/**/*.device.test.ts"],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});

export default config;
