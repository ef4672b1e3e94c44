/** Runs the tests of the page's models: bundles them, since Node 20 does not run TypeScript, and hands them to its runner. */

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const TESTS = join(import.meta.dirname, "test");
const out = await mkdtemp(join(tmpdir(), "quoth-page-test-"));
try {
  const names = (await readdir(TESTS)).filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: names.map((name) => join(TESTS, name)),
    bundle: true,
    outdir: out,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "inline",
    outExtension: { ".js": ".mjs" },
    logLevel: "warning",
  });
  const { status } = spawnSync(
    process.execPath,
    ["--enable-source-maps", "--test", ...names.map((name) => join(out, name.replace(/\.ts$/u, ".mjs")))],
    { stdio: "inherit" },
  );
  process.exitCode = status ?? 1;
} finally {
  await rm(out, { recursive: true, force: true });
}
