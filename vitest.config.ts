import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "tools",
          include: ["{tools,test}/**/*.test.ts"],
          exclude: ["test/{e2e,istio}/**"],
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: "test/e2e/setup.ts",
          // Each file starts Envoys and peers: one at a time, or they would measure each other.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "istio",
          include: ["test/istio/**/*.test.ts"],
          globalSetup: "test/e2e/setup.ts",
          // Each file starts an istiod on the same ports.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
