// SPDX-License-Identifier: Apache-2.0
// The runs that the page is shown with: trainings in C and in PyTorch, made anew each time.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { backprobe } from "./programs.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const EXAMPLES = join(HERE, "../../examples");

export const FIXTURES = process.env.BACKPROBE_FIXTURES;
export const RUNS = join(FIXTURES ?? "", "runs"); // a run of each kind
export const MANY = join(FIXTURES ?? "", "many"); // N_MANY runs
export const N_MANY = 300;
export const BLINK_STEP = 137;
// The same in programs.py, which trains with them.
export const HOSTILE_RUN = "<img src=x onerror=alert(1)>\u202egpj.exe";
export const hostileNames = () =>
  readFileSync(join(HERE, "hostile-names.txt"), "utf8").split("\n").filter(Boolean);

export const network = (name) => join(EXAMPLES, `${name}.yaml`);

async function pytorch(python, folder) {
  const child = spawn(python, [join(HERE, "programs.py"), folder],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, OMP_NUM_THREADS: "1" } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => { output += text; });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${python} programs.py: exit ${code}\n${output}`);
}

function trained(name, folder, ...words) {
  backprobe(["train", network(name), "--every", "1", "--quiet", "--run", folder, ...words],
    { codes: [0, 1] });
}

/** Fills a folder; what FIXTURES names in the tests. */
export async function makeFixtures(folder, python) {
  const runs = join(folder, "runs"), many = join(folder, "many");
  mkdirSync(runs);
  mkdirSync(many);
  const programs = pytorch(python, runs);
  trained("vanishing", join(runs, "vanishing"));
  trained("exploding", join(runs, "exploding"));
  trained("healthy", join(runs, "healthy"));
  trained("residual", join(runs, "residual"));
  trained("healthy", join(many, "run-000"), "--epochs", "1");
  for (let i = 1; i < N_MANY; i++) {
    cpSync(join(many, "run-000"), join(many, `run-${String(i).padStart(3, "0")}`), { recursive: true });
  }
  await programs;
}
