// SPDX-License-Identifier: Apache-2.0
// A run's view as who uses it meets it: by roles, names and keys. What the picture shows is read from
// the line beneath it, as a screen reader's user does.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { until } from "./programs.mjs";
import { same, tileOf } from "./tile.mjs";

export class View {
  constructor(watched, home) {
    this.context = watched.context;
    this.watched = watched;
    this.page = watched.page;
    this.home = home;
  }

  region(name) {
    return this.page.getByRole("region", { name, exact: true });
  }

  get map() {
    return this.page.getByRole("application", { name: /^Heat map/ });
  }

  get quantity() {
    return this.page.getByRole("combobox", { name: "Quantity" });
  }

  button(name) {
    return this.page.getByRole("button", { name });
  }

  /** The run is there: its sentence is told and its map painted. */
  async ready() {
    await this.region("Verdict").getByRole("heading").first().waitFor();
    await until("a picture of the map", async () => (await this.colours()) > 1);
    return this;
  }

  /** What was asked for is there and painted. */
  async settled() {
    await this.page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
    await this.page.evaluate(() => new Promise((resolve) =>
      requestAnimationFrame(() => requestAnimationFrame(resolve))));
  }

  /** How many colours a canvas shows; the map's, unless told otherwise. */
  colours(canvas = this.map.locator("canvas").first()) {
    return canvas.evaluate((element) => {
      if (element.width === 0 || element.height === 0) return 0;
      return new Set(globalThis.pixelsOf(element)).size;
    });
  }

  /** The button that opens and chooses a finding. */
  finding({ title }) {
    const words = new RegExp(title.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i"); // a sentence may begin large
    return this.region("Findings").getByRole("button").filter({ hasText: words }).first();
  }

  /** Opens all that is folded in a part of the page. */
  async unfold(part) {
    const closed = part.locator("details:not([open]) > summary, button[aria-expanded=false]");
    for (let i = 0; (await closed.count()) > 0; i++) {
      assert.ok(i < 50, "what was opened is closed again");
      await closed.first().click();
    }
  }

  /** The map with what lies over it, as a text: to tell whether it looks different. */
  drawing() {
    return this.map.evaluate((map) => map.innerHTML + map.querySelector("canvas").toDataURL());
  }

  /** The picture as a text, to tell whether it changed. */
  picture() {
    return this.map.locator("canvas").first().evaluate((canvas) => canvas.toDataURL());
  }

  async span() {
    const read = (name) => this.map.getAttribute(`data-${name}`).then(Number);
    return { first: await read("first"), last: await read("last") };
  }

  /** The cell under the cursor, as it is read out. */
  cell() {
    return this.region("Heat map").locator("[data-layer][data-step]").first().evaluate((line) => {
      const { layer, step, lastStep, value, flags, plane } = line.dataset;
      return { layer: Number(layer), first: Number(step), last: Number(lastStep), value, flags, plane,
        text: line.innerText };
    });
  }

  async press(...keys) {
    await this.map.focus();
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** To a cell, by the keyboard alone; by tens where it is far. */
  async go(layer, step) {
    await this.press("ArrowDown", "Home");
    for (const [less, more, distance] of [["ArrowUp", "ArrowDown", (cell) => layer - cell.layer],
      ["ArrowLeft", "ArrowRight", (cell) => cell.first <= step && step <= cell.last ? 0
        : Math.sign(step - cell.first) * Math.max(1, Math.floor(Math.abs(step - cell.first)
          / (cell.last - cell.first + 1)))]]) {
      for (let tries = 0; ; tries++) {
        const cell = await this.cell(), by = distance(cell);
        if (by === 0) break;
        assert.ok(tries < 60, `no way to layer ${layer}, step ${step}: at ${JSON.stringify(cell)}`);
        const key = by < 0 ? less : more, [tens, ones] = [Math.floor(Math.abs(by) / 10), Math.abs(by) % 10];
        for (let i = 0; i < tens; i++) await this.page.keyboard.press(`Shift+${key}`);
        for (let i = 0; i < ones; i++) await this.page.keyboard.press(key);
      }
    }
    return this.cell();
  }

  /** Holds the cell that is read out against the server's own answer about just these steps. */
  async compareCell(server, id, series) {
    const cell = await this.cell();
    const tile = await tileOf(server, id, series, { first: cell.first, last: cell.last, columns: 1 });
    const [told, columns] = [tile.at(cell.layer, 0), tile.starts];
    assert.deepEqual([columns[0], columns[1] - 1], [cell.first, cell.last]);
    const value = cell.value === "" ? null : Number(cell.value);
    const wanted = told.nan ? NaN : told.inf ? Infinity : told[cell.plane];
    assert.ok(close(value, wanted), `${series} of layer ${cell.layer}, steps ${cell.first}–${cell.last}: ` +
      `the page says ${cell.value}, the server ${wanted}`);
    assert.equal(cell.flags.includes("nan"), told.nan);
    assert.equal(cell.flags.includes("inf"), told.inf);
    return cell;
  }

  /** Whether the column of a step has colours that no other has, in a stripe wide enough to be seen. */
  async marked(step) {
    const { first, last } = await this.span();
    return this.map.locator("canvas").first().evaluate((canvas, [place, steps]) => {
      const { width, height } = canvas, pixels = globalThis.pixelsOf(canvas);
      const x = Math.floor(place * width), reach = 8 + Math.ceil(Math.max(width / 100, width / steps)), others = new Set();
      const coloursOf = (from, to, into) => {
        for (let u = Math.max(from, 0); u < Math.min(to, width); u++) {
          for (let v = 0; v < height; v++) into.add(pixels[v * width + u]);
        }
        return into;
      };
      coloursOf(0, x - reach, others);
      coloursOf(x + reach, width, others);
      const own = [x - 1, x, x + 1].map((u) => [...coloursOf(u, u + 1, new Set())].some((one) => !others.has(one)));
      return own.every(Boolean);
    }, [(step + 0.5 - first) / (last + 1 - first), last + 1 - first]);
  }

  /** What makes the page wider than its window. */
  tooWide() {
    return this.page.evaluate(() => {
      const { clientWidth, scrollWidth } = document.documentElement;
      if (scrollWidth <= clientWidth) return [];
      return [`${scrollWidth} px in a window of ${clientWidth}`, ...[...document.querySelectorAll("body *")]
        .filter((one) => one.getBoundingClientRect().right > clientWidth + 0.5).map((one) =>
          `${one.tagName} .${one.getAttribute("class")} ends at ${one.getBoundingClientRect().right}`)].slice(0, 12);
    });
  }

  /** Nothing was wrong since the page was opened: asked at the end of every test. */
  assertClean() {
    assert.deepEqual(this.watched.complaints(this.home), []);
  }

  close() {
    return this.watched.close();
  }
}

/** Means over bins are rounded to the log's own 16 bits. */
export function close(a, b) {
  return same(a, b) || (a !== null && b !== null && Math.abs(a / b - 1) < 0.004);
}

/** A screenshot for people, where some are wanted (--pictures). */
export async function picture(page, name, options = {}) {
  const folder = process.env.BACKPROBE_PICTURES;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true, ...options });
}
