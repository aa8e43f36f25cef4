// SPDX-License-Identifier: Apache-2.0
// Chromium, and a page in it whose every request, message and dialog is kept: a test ends by asking
// that nothing of it was wrong (`Watched.complaints`).
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

/** Debian's Chromium; nothing is fetched, and without one the tests fail. */
function onPath() {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      const path = join(folder, name);
      if (existsSync(path)) return path;
    }
  }
  throw new Error("no chromium on PATH: apt-get install --no-install-recommends chromium");
}

/** Its profile is a new folder among the temporary ones, which goes with it. */
export function launch(...more) {
  const args = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", ...more];
  return chromium.launch({ executablePath: onPath(), headless: true,
    chromiumSandbox: process.getuid?.() !== 0, args });
}

const PATIENCE_MS = 15_000;
export const WIDE = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };
export const NARROW = { width: 320, height: 640 };

/** A context of its own (no cookie, nothing stored) and a page in it. */
export async function openWatched(browser, options = {}) {
  const { offline = false, ...rest } = options;
  const context = await browser.newContext({ viewport: WIDE, offline, ...rest });
  context.setDefaultTimeout(PATIENCE_MS);
  const watched = new Watched(context, await context.newPage());
  await watched.listen();
  return watched;
}

export class Watched {
  requests = []; // {url, resource}
  responses = []; // {url, status}
  messages = []; // errors and warnings of the console, exceptions, violations of the policy
  dialogs = [];

  constructor(context, page) {
    this.context = context;
    this.page = page;
  }

  async listen() {
    this.context.on("request", (request) => this.requests.push({ url: request.url(),
      resource: request.resourceType() }));
    this.context.on("response", (response) => this.responses.push({ url: response.url(),
      status: response.status() }));
    this.context.on("console", (message) => {
      if (["error", "warning", "assert"].includes(message.type())) {
        this.messages.push(`${message.type()}: ${message.text()}`);
      }
    });
    this.context.on("weberror", (event) => this.messages.push(`exception: ${event.error()}`));
    this.page.on("dialog", (dialog) => {
      this.dialogs.push(dialog.message());
      void dialog.dismiss();
    });
    this.page.on("crash", () => this.messages.push("the page crashed"));
    await this.page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) =>
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
      // From a copy: the page's own canvas is not meant to be read, and Chromium says so.
      globalThis.pixelsOf = (canvas) => {
        const { width, height } = canvas;
        const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        return new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
      };
    });
  }

  /** What was wrong. `home` is where requests may go, beside what lies in the page itself: a server,
   * or the one file of a report. */
  complaints(home) {
    const isHome = (url) => home.startsWith("file:") ? url === home : new URL(url).origin === home;
    const strangers = this.requests.map(({ url }) => url.split("#")[0])
      .filter((url) => !/^(data|blob):/.test(url) && !isHome(url));
    return [...this.messages, ...this.dialogs.map((text) => `dialog: ${text}`),
      ...strangers.map((url) => `request to ${url}`)];
  }

  close() {
    return this.context.close();
  }
}
