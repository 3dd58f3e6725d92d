import { writeFileSync } from "node:fs";
import type { Reporter, TestModule } from "vitest/node";

/** What a suite came to. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  /** Full names of the tests that were skipped, each with its reason where one was given. */
  readonly skipped: readonly string[];
}

/** Names the file that the counts of a vitest run go to, as JSON. */
export const countsFile = "MELTEMI_TEST_COUNTS";

/** A vitest reporter beside the visible one: its own JSON report does not say why a test was skipped. */
export default class CountingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    let passed = 0;
    let failed = 0;
    const skipped: string[] = [];
    for (const module of modules) {
      const failedBefore = failed;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed") passed++;
        else if (result.state === "failed") failed++;
        else skipped.push([test.fullName, ...("note" in result && result.note ? [result.note] : [])].join(": "));
      }
      // A file that cannot be loaded, or whose hooks fail, has failed without a test of its own that says so.
      if (!module.ok() && failed === failedBefore) failed++;
    }
    writeFileSync(process.env[countsFile] as string, JSON.stringify({ passed, failed, skipped } satisfies Counts));
  }
}
