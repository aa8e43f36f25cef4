// SPDX-License-Identifier: Apache-2.0
// node tests/browser/run.mjs --backprobe COMMAND --python PYTHON [--pictures FOLDER] [--keep FOLDER]
//   [--match PATTERN] [test_*.mjs ...]
// Makes the runs, then runs the tests, two files at a time; the last line counts them.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const { values, positionals } = parseArgs({ allowPositionals: true, options: {
  backprobe: { type: "string" }, // the command under test
  python: { type: "string", default: "python3" }, // one that has torch and backprobe
  pictures: { type: "string" }, // where screenshots go, to be looked at; else none are kept
  match: { type: "string" }, // only tests with such a name
  keep: { type: "string" }, // where the runs are made, and taken from the next time
} });

function finish(passed, failed) {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

if (!values.backprobe || !existsSync(values.backprobe)) {
  console.log(`no command to test: --backprobe ${values.backprobe ?? ""}`);
  finish(0, 1);
}
process.env.BACKPROBE_COMMAND = resolve(values.backprobe);
if (values.pictures) process.env.BACKPROBE_PICTURES = resolve(values.pictures);

const folder = values.keep ? resolve(values.keep) : mkdtempSync(join(tmpdir(), "backprobe-browser-"));
process.env.BACKPROBE_FIXTURES = folder;
const forget = () => { if (!values.keep) rmSync(folder, { recursive: true, force: true }); };
process.on("exit", forget);
try {
  const { makeFixtures } = await import("./fixtures.mjs");
  if (!existsSync(join(folder, "runs"))) {
    mkdirSync(folder, { recursive: true });
    const start = performance.now();
    await makeFixtures(folder, values.python);
    console.log(`runs made in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
} catch (error) {
  console.log(String(error));
  finish(0, 1);
}

const files = (positionals.length ? positionals : readdirSync(HERE).filter((n) => /^test_.*\.mjs$/.test(n)))
  .map((name) => join(HERE, name)).sort();
let passed = 0, failed = 0;
const events = run({ files, concurrency: Math.max(availableParallelism(), 2), timeout: 600_000,
  ...(values.match && { testNamePatterns: [values.match] }) });
const leaf = ({ details, skip, todo }) => details?.type !== "suite" && skip === undefined && todo === undefined;
const isFile = (data) => files.includes(data.name); // the file itself is told as a test, too
events.on("test:pass", (data) => { if (leaf(data) && !isFile(data)) passed++; });
// A file that broke outside its tests is a failure of its own.
events.on("test:fail", (data) => { if (leaf(data)) failed++; });
events.on("end", () => finish(passed, failed));
events.compose(spec).pipe(process.stdout);
