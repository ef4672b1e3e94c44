// Bundles the tests (`test/**/*.test.ts`, or those that are named) and runs them with Node's own runner.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { build } from "esbuild";

const named = process.argv.slice(2);
const all = readdirSync("test").filter((name) => name.endsWith(".test.ts"));
const tests = all.filter((name) => named.length === 0 || named.some((part) => name.includes(part)));
rmSync("build", { recursive: true, force: true });
await build({
  entryPoints: tests.map((name) => `test/${name}`),
  outdir: "build",
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  sourcemap: "inline",
  target: "node20",
  jsx: "automatic",
});
const files = tests.map((name) => `build/${basename(name, ".ts")}.js`);
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
process.exit(status ?? 1);
