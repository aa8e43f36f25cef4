// SPDX-License-Identifier: Apache-2.0
// A run in the real page, measured: node panorama.mjs JOB, which is JSON {url, run, twin, badLayer, badStep, zooms,
// rounds, fresh} (runs by their ids; fresh: the first view alone); one JSON line a result. Chromium and Playwright are those of tests/browser.
import { readFileSync, readdirSync } from "node:fs";
import { launch, openWatched } from "../tests/browser/browser.mjs";

const job = JSON.parse(process.argv[2]);
const tell = (result) => console.log(JSON.stringify(result));

/** In the page: until the map shows what was asked for. Gives milliseconds since the page's time `since`:
 *  until it was repainted at all, and until nothing finer is under way. */
const SETTLED = `async (since, before, quiet_ms = 300) => {
  const map = () => document.querySelector("[role=application]");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const state = () => map() && map().dataset.first + " " + map().dataset.last;
  const busy = () => document.querySelector("[aria-busy=true]");
  const painted = () => { const c = map() && map().querySelector("canvas"); return c && c.width > 0 && !document.querySelector(".map-waiting"); };
  while (!painted() || (before && state() === before)) await frame();
  await frame();
  const repainted = performance.now() - since;
  if (before === undefined) return { repainted };
  // What is finer is asked for a moment later: it is there when nothing has been under way for so long.
  let quiet = performance.now(), sharp = quiet;
  while (performance.now() - quiet < quiet_ms) {
    await frame();
    if (busy()) quiet = sharp = performance.now();
  }
  return { repainted, sharp: Math.max(sharp - since, repainted) };
}`;

const map = (page) => page.locator("[role=application]");
const spanOf = (page) => map(page).evaluate((m) => `${m.dataset.first} ${m.dataset.last}`);

async function press(page, key, quiet = 300) {
  const before = await spanOf(page);
  return page.evaluate(`(async () => {
    const map = document.querySelector("[role=application]"), since = performance.now();
    map.dispatchEvent(new KeyboardEvent("keydown", { key: ${JSON.stringify(key)}, bubbles: true, cancelable: true }));
    return (${SETTLED})(since, ${JSON.stringify(before)}, ${quiet});
  })()`);
}

/** The map's pixels, and where they are. */
const PICTURE = `() => {
  const map = document.querySelector("[role=application]"), canvas = map.querySelector("canvas");
  const { width, height } = canvas, { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const pixels = new Uint32Array(data.buffer);
  let binary = "";
  const bytes = new Uint8Array(pixels.buffer);
  for (let i = 0; i < bytes.length; i += 32768) binary += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return { width, height, first: Number(map.dataset.first), last: Number(map.dataset.last), pixels: btoa(binary) };
}`;

async function pictures(browser, id) {
  const { page, close } = await openRun(browser, id), taken = [];
  await page.evaluate(`(${SETTLED})(0, null, 1500)`); // both must show all that there is
  for (let zoom = 0; zoom <= job.zooms; zoom++) {
    taken.push(await page.evaluate(`(${PICTURE})()`));
    if (zoom < job.zooms) await press(page, "+", 1500);
  }
  await close();
  return taken;
}

/** Where two pictures differ: none, or a box. */
function difference(a, b) {
  const [one, two] = [a, b].map(({ pixels }) => new Uint32Array(Uint8Array.from(Buffer.from(pixels, "base64")).buffer));
  const box = { n: 0, left: Infinity, right: -1, top: Infinity, bottom: -1 };
  for (let i = 0; i < one.length; i++) {
    if (one[i] === two[i]) continue;
    const x = i % a.width, y = Math.floor(i / a.width);
    box.n++;
    Object.assign(box, { left: Math.min(box.left, x), right: Math.max(box.right, x), top: Math.min(box.top, y), bottom: Math.max(box.bottom, y) });
  }
  return box;
}

/** The bad step in pixels: beside a run that is the same but for it, at each zoom. */
async function compare(browser) {
  const bad = await pictures(browser, job.run), good = await pictures(browser, job.twin);
  bad.forEach((picture, zoom) => {
    const { width, height, first, last } = picture, other = good[zoom];
    if (width !== other.width || height !== other.height || first !== other.first || last !== other.last) {
      tell({ page: "pixels", zoom, seen: false, why: "the pictures are of other sizes" });
      return;
    }
    // A value stands until the next that was measured, so the step may be wide; never elsewhere in height.
    const box = difference(picture, other), at = (job.badStep + 0.5 - first) / (last - first + 1) * width;
    tell({ page: "pixels", zoom, span: last - first + 1, n: box.n, box: [box.left, box.right, box.top, box.bottom], at: Math.round(at),
      seen: box.n > 0 && box.left <= at + 8 && box.right >= at - 8 && box.bottom - box.top < 24 });
  });
}

/** Kilobytes of a process and of those that it started. */
function residentOf(root) {
  const parents = new Map(), sizes = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      parents.set(Number(pid), Number(/^PPid:\s+(\d+)/m.exec(status)[1]));
      sizes.set(Number(pid), { kb: Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0), renderer: command.includes("--type=renderer") });
    } catch {
      // it is gone
    }
  }
  const within = (pid) => pid === root || (parents.has(pid) && parents.get(pid) > 0 && within(parents.get(pid)));
  return Math.max(0, ...[...sizes].filter(([pid, { renderer }]) => renderer && within(pid)).map(([, { kb }]) => kb));
}

/** What the page holds (objects, and the arrays that tiles are), and what its process has: Chromium's own
 *  and what was freed but not given back are in the latter. */
async function memory(page, cdp, browserPid) {
  for (let i = 0; i < 2; i++) await cdp.send("HeapProfiler.collectGarbage");
  const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await cdp.send("Runtime.getHeapUsage");
  return { held_mb: (usedSize + embedderHeapUsedSize + backingStorageSize) / 1e6, renderer_mb: residentOf(browserPid) / 1e3 };
}

/** A page on the run, with the cursor on the bad cell. */
async function openRun(browser, id) {
  const watched = await openWatched(browser), { page } = watched, { origin } = new URL(job.url);
  await page.goto(job.url); // the token becomes a cookie
  await page.goto("about:blank");
  await page.goto(`${origin}/#run=${id}&step=${job.badStep}&layer=${job.badLayer}`, { waitUntil: "commit" });
  return { watched, page, close: () => watched.close() };
}

/** Since the navigation began. */
async function firstView(browser, round) {
  const { watched, page } = await openRun(browser, job.run);
  const { repainted, sharp } = await page.evaluate(`(${SETTLED})(0${job.fresh ? "" : ", null"})`);
  tell({ page: job.fresh ? "first view, server new" : "first view", round, painted_ms: repainted, settled_ms: sharp });
  return watched;
}

async function zooms(watched, round) {
  const { page } = watched;
  await map(page).focus();
  for (let zoom = 0; zoom < job.zooms; zoom++) {
    const { repainted, sharp } = await press(page, "+");
    tell({ page: "zoom", round, zoom, span: await spanOf(page), repainted_ms: repainted, sharp_ms: sharp });
  }
  for (const [name, key] of [["pan", "PageDown"], ["pan", "PageUp"], ["whole run", "0"]]) {
    const { repainted, sharp } = await press(page, key);
    tell({ page: name, round, repainted_ms: repainted, sharp_ms: sharp });
  }
}

const browser = await launch("--enable-precise-memory-info");
const root = process.pid;
for (let round = 0; round < job.rounds; round++) {
  const watched = await firstView(browser, round);
  if (job.fresh) {
    await watched.close();
    continue;
  }
  const cdp = await watched.context.newCDPSession(watched.page);
  tell({ page: "memory", when: "first view", round, ...await memory(watched.page, cdp, root) });
  await zooms(watched, round);
  tell({ page: "memory", when: "after the zooms", round, ...await memory(watched.page, cdp, root) });
  for (const complaint of watched.complaints(new URL(job.url).origin)) tell({ page: "complaint", complaint });
  await watched.close();
}
if (job.twin && !job.fresh) await compare(browser);
await browser.close();
