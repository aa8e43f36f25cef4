// SPDX-License-Identifier: Apache-2.0
// The page in its two lives, live from a server and alone in a report, so that a test is written once
// for both.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch, openWatched } from "./browser.mjs";
import { RUNS } from "./fixtures.mjs";
import { Server, backprobe, until } from "./programs.mjs";
import { View } from "./view.mjs";

/** One Chromium, one server over RUNS and a folder for reports; for the tests of a file. */
export class Place {
  static async open(folder = RUNS, { chromium = [] } = {}) {
    const place = new Place();
    place.folder = folder;
    place.scratch = mkdtempSync(join(tmpdir(), "backprobe-place-"));
    [place.server, place.browser] = await Promise.all([Server.start(folder), launch(...chromium)]);
    return place;
  }

  async close() {
    await this.browser?.close();
    await this.server?.stop();
    rmSync(this.scratch, { recursive: true, force: true });
  }

  /** A browser window that has shown the token, at the list of runs. */
  async list(options) {
    const view = new View(await openWatched(this.browser, options), this.server.origin);
    await view.page.goto(this.server.url);
    return view;
  }

  /** Two runs beside each other, as they are chosen from the list. */
  async compared(kind, names, options = {}) {
    const view = kind === "report" ? await this.report(names, options) : await this.list(options);
    if (kind === "report") await view.page.getByRole("link", { name: "All runs" }).click(); // it begins with the first
    for (const name of names) {
      await view.region("Runs").getByRole("checkbox", { name: `Compare ${name}`, exact: true }).check();
    }
    await view.region("Runs").getByRole("button", { name: "Compare", exact: true }).click();
    await until("two maps", async () => (await view.map.count()) === 2);
    await view.settled();
    return view;
  }

  /** A run's view. kind: "served" or "report". */
  async run(kind, name, options = {}) {
    if (kind === "report") return (await this.report([name], options)).ready();
    const view = await this.list(options);
    await view.region("Runs").getByRole("link", { name, exact: true }).click();
    return view.ready();
  }

  reportFile(names) {
    const file = join(this.scratch, `${Math.random().toString(36).slice(2)}.html`);
    backprobe(["report", ...names.map((name) => join(this.folder, name)), "-o", file],
      { codes: [0, 1] });
    return file;
  }

  /** The report of runs, opened as a file where there is no network. */
  async report(names, options = {}) {
    const address = pathToFileURL(this.reportFile(names)).href;
    const watched = await openWatched(this.browser, { offline: true, ...options });
    const view = new View(watched, address);
    await view.page.goto(address);
    return view;
  }
}

export const KINDS = ["served", "report"];
