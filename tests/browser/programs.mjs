// SPDX-License-Identifier: Apache-2.0
// The command under test, as tests run it.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

export const BACKPROBE = process.env.BACKPROBE_COMMAND;
const ADDRESS = /http:\/\/[^\s]+/;
const PATIENCE_MS = 30_000; // a machine may be busy: for what ends in good time without it

/** Runs it to its end; `codes` are those that are right. */
export function backprobe(words, { codes = [0], cwd } = {}) {
  const done = spawnSync(BACKPROBE, words, { encoding: "utf8", cwd, timeout: 120_000,
    maxBuffer: 64 << 20 });
  if (!codes.includes(done.status)) {
    throw new Error(`backprobe ${words.join(" ")}: exit ${done.status ?? done.signal}\n${done.stderr}`);
  }
  return done.stdout;
}

/** backprobe.findings/1 of a run, as `check` tells it. */
export function checked(run) {
  return JSON.parse(backprobe(["check", run, "--format", "json"], { codes: [0, 1] }));
}

/** A program that goes on beside the test. */
export class Process {
  output = "";

  constructor(words, options = {}) {
    this.child = spawn(BACKPROBE, words, { stdio: ["ignore", "pipe", "pipe"], ...options });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => { this.output += text; });
    }
    this.ended = once(this.child, "close").then(([code, signal]) => code ?? signal);
  }

  async stop(signal = "SIGTERM") {
    this.child.kill(signal);
    const late = setTimeout(() => this.child.kill("SIGKILL"), PATIENCE_MS);
    const code = await this.ended;
    clearTimeout(late);
    return code;
  }
}

/** `backprobe serve FOLDER`, and what is asked of it without a browser. */
export class Server extends Process {
  static async start(folder, { port = 0, token } = {}) {
    const env = { ...process.env, ...(token && { BACKPROBE_TOKEN: token }) };
    const server = new Server(["serve", folder, "--port", String(port)], { env });
    await until(`an address among: ${server.output}`, () => {
      if (server.child.exitCode !== null) throw new Error(`serve ended: ${server.output}`);
      return ADDRESS.test(server.output);
    });
    server.url = ADDRESS.exec(server.output)[0];
    server.origin = new URL(server.url).origin;
    server.port = Number(new URL(server.url).port);
    server.token = new URL(server.url).searchParams.get("token");
    const answer = await fetch(server.url, { redirect: "manual" });
    server.cookie = answer.headers.get("set-cookie")?.split(";")[0];
    return server;
  }

  async get(path, headers = {}) {
    return fetch(new URL(path, this.origin), { headers: { cookie: this.cookie, ...headers } });
  }

  async json(path) {
    const answer = await this.get(path);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  async bytes(path) {
    const answer = await this.get(path);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return new DataView(await answer.arrayBuffer());
  }

  /** The id of the run of that name. */
  async id(name) {
    const { runs } = await this.json("/api/runs");
    const run = runs.find((one) => one.name === name);
    if (!run) throw new Error(`no run ${name} among ${runs.map((one) => one.name).join(", ")}`);
    return run.id;
  }
}

/** Waits for something that comes in its time. */
export async function until(what, true_, patience_ms = PATIENCE_MS) {
  const end = performance.now() + patience_ms;
  while (performance.now() < end) {
    const value = await true_();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`waited ${patience_ms / 1000} s for ${typeof what === "function" ? what() : what}`);
}
