// SPDX-License-Identifier: Apache-2.0
// Every view of a run, live and in a report, against what the command and the server say.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BLINK_STEP, RUNS } from "./fixtures.mjs";
import { parseCsv } from "./csv.mjs";
import { KINDS, Place } from "./kinds.mjs";
import { checked } from "./programs.mjs";
import { readTile, same, tileOf } from "./tile.mjs";
import { close } from "./view.mjs";

let place, view;
before(async () => { place = await Place.open(); });
after(() => place?.close());

const squeezed = (text) => text.replace(/\s+/g, " ").trim().toLowerCase(); // a sentence may begin large
const LAST = checked(join(RUNS, "vanishing")).steps.last;
const flat = (findings) => findings.flatMap((one) => [one, ...flat(one.consequences)]);

for (const kind of KINDS) {
  describe(`views, ${kind}`, () => {
    const open = async (name, options) => (view = await place.run(kind, name, options));
    afterEach(async () => {
      try {
        view?.assertClean();
      } finally {
        await view?.close();
        view = undefined;
      }
    });

    for (const name of ["vanishing", "exploding", "mlp"]) {
      test(`${name}: the findings are those of \`backprobe check\`, word for word`, async () => {
        const { findings } = checked(join(RUNS, name));
        assert.ok(findings.length > 0);
        await open(name);
        const list = view.region("Findings");
        for (const finding of flat(findings)) {
          const button = view.finding(finding);
          await button.waitFor();
          if ((await button.getAttribute("aria-expanded")) !== "true") await button.click();
          assert.equal(await button.getAttribute("aria-expanded"), "true");
          await view.unfold(list);
          const shown = squeezed(await list.innerText());
          for (const text of [finding.cause, finding.note, finding.remedy?.title, finding.remedy?.reason,
            ...(finding.remedy?.code ?? "").split("\n"), ...(finding.remedy?.diff ?? []).map((line) => line.text),
            ...finding.evidence.map((evidence) => evidence.meaning)]) {
            if (text) assert.ok(shown.includes(squeezed(text)), `not shown: ${text}\nin: ${shown}`);
          }
        }
        const all = await list.getByRole("button", { expanded: true }).count()
          + await list.getByRole("button", { expanded: false }).count();
        assert.ok(all >= flat(findings).length);
        const verdict = squeezed(await view.region("Verdict").innerText());
        const worst = findings.find((one) => one.open && one.severity === "error") ?? findings[0];
        assert.ok(verdict.includes(squeezed(worst.title)), verdict);
        assert.ok(verdict.includes(worst.severity), "in words, not in colour alone");
      });
    }

    test("healthy: one quiet sentence, no finding", async () => {
      await open("healthy");
      assert.equal(await view.region("Findings").getByRole("button", { expanded: false }).count(), 0);
      assert.doesNotMatch(await view.region("Verdict").innerText(), /error|warning/i);
    });

    test("map: what is read out at a cell is what the server says of it", async () => {
      await open("vanishing");
      const id = await place.server.id("vanishing");
      for (const [layer, step] of [[1, 0], [20, 3], [21, LAST], [7, 300]]) {
        await view.go(layer, step);
        const cell = await view.compareCell(place.server, id, await view.quantity.inputValue());
        assert.match(cell.text, /\d/);
      }
    });

    test("map: every quantity can be chosen, and has its own picture and values", async () => {
      await open("vanishing");
      const id = await place.server.id("vanishing");
      const options = await view.quantity.locator("option").evaluateAll((all) => all.map((o) => o.value));
      for (const wanted of ["gradient_rms", "gain", "update_ratio", "non_finite"]) {
        assert.ok(options.includes(wanted), `${wanted} is not among ${options.join(", ")}`);
      }
      const pictures = new Set();
      await view.go(9, 100);
      for (const series of options) {
        await view.quantity.selectOption(series);
        await view.settled();
        pictures.add(await view.picture());
        await view.compareCell(place.server, id, series);
      }
      assert.ok(pictures.size > options.length / 2, `${pictures.size} pictures of ${options.length}`);
    });

    test("map: zoom and pan by keys, by buttons and by mouse", async () => {
      await open("vanishing");
      const id = await place.server.id("vanishing");
      const whole = await view.span();
      assert.deepEqual(whole, { first: 0, last: LAST });
      await view.go(10, 200);
      await view.press("+", "+");
      await view.settled();
      const near = await view.span();
      assert.ok(near.last - near.first < 0.5 * (whole.last - whole.first), JSON.stringify(near));
      assert.ok(near.first <= 200 && 200 <= near.last, "the cursor stays in sight");
      await view.compareCell(place.server, id, await view.quantity.inputValue());
      await view.press("PageDown");
      await view.settled();
      const right = await view.span();
      assert.ok(right.first > near.first && right.last > near.last, JSON.stringify(right));
      await view.press("PageUp", "-");
      await view.settled();
      await view.button("Zoom in").click();
      await view.button("Zoom in").click();
      await view.settled();
      const closer = await view.span();
      assert.ok(closer.last - closer.first < near.last - near.first);
      await view.button("Whole run").click();
      await view.settled();
      assert.deepEqual(await view.span(), whole);

      const box = await view.map.locator("canvas").first().boundingBox();
      await view.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await view.page.keyboard.down("Control");
      await view.page.mouse.wheel(0, -400);
      await view.page.keyboard.up("Control");
      await view.settled();
      const wheeled = await view.span();
      assert.ok(wheeled.last - wheeled.first < whole.last - whole.first, JSON.stringify(wheeled));
      await view.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await view.compareCell(place.server, id, await view.quantity.inputValue());
    });

    test("map: one step with NaN is told and hatched at every zoom", async () => {
      await open("blink");
      await view.quantity.selectOption("error_norm");
      await view.settled();
      for (let zoom = 0; zoom < 8; zoom++) {
        const cell = await view.go(2, BLINK_STEP);
        assert.ok(cell.flags.includes("nan"), `zoom ${zoom}: ${JSON.stringify(cell)}`);
        assert.match(cell.text, /NaN/);
        assert.ok(await view.marked(BLINK_STEP), `zoom ${zoom}: the step is not seen`);
        await view.press("+");
        await view.settled();
      }
      const { first, last } = await view.span();
      assert.ok(last - first < 20, `${first}–${last} is not near`);
    });

    test("map: blocks collapse and open again", async () => {
      await open("resnet");
      await view.quantity.selectOption("error_norm"); // which every layer has
      await view.settled();
      const rows = async () => Number(await view.map.getAttribute("data-rows"));
      const all = await rows(), before = await view.picture();
      assert.ok(all >= 20);
      const block = view.region("Heat map").getByRole("button", { name: "stage1.1", exact: true });
      assert.equal(await block.getAttribute("aria-expanded"), "true");
      await block.click();
      await view.settled();
      assert.equal(await block.getAttribute("aria-expanded"), "false");
      assert.equal(await rows(), all - 2); // three layers in one row
      await view.go(4, 50);
      await view.press("ArrowDown");
      assert.match((await view.cell()).text, /stage1\.1.*worst/);
      assert.notEqual(await view.picture(), before);
      await block.focus();
      await view.page.keyboard.press("Enter");
      await view.settled();
      assert.equal(await rows(), all);
      assert.equal(await view.picture(), before);
    });

    test("a finding brushes the map", async () => {
      await open("vanishing");
      const plain = await view.drawing();
      const [finding] = checked(join(RUNS, "vanishing")).findings;
      await view.finding(finding).click();
      await view.settled();
      assert.notEqual(await view.drawing(), plain);
      assert.equal(await view.finding(finding).getAttribute("aria-current"), "true");
      await view.page.keyboard.press("Escape");
      await view.settled();
      assert.equal(await view.drawing(), plain);
    });

    test("curves: the loss at the chosen step is the log's", async () => {
      await open("vanishing");
      const id = await place.server.id("vanishing");
      const tile = await tileOf(place.server, id, "loss", { first: 0, last: LAST, columns: LAST + 1 });
      await view.go(5, 321);
      await view.settled();
      const loss = tile.at(0, tile.columnOf(321)).mean;
      const curves = view.region("Curves");
      assert.ok((await view.colours(curves.locator("canvas").first())) > 2);
      const told = [...(await curves.innerText()).matchAll(/\d+\.\d+/g)].map(([text]) => Number(text));
      assert.ok(told.some((number) => Math.abs(number / loss - 1) < 0.006), `${loss} is not among ${told}`);
    });

    test("chain rule: the products are the ratios of the error signals' norms", async () => {
      await open("vanishing");
      const id = await place.server.id("vanishing");
      const run = await place.server.json(`/api/runs/${id}`);
      const step = 400;
      await view.go(5, step);
      await view.settled();
      const { first, last } = await view.cell();
      const tile = await tileOf(place.server, id, "error_norm", { first, last, columns: 1 });
      const norm = (layer) => tile.at(layer, 0).mean;
      const end = run.path.at(-1);
      const points = await view.region("Chain rule").locator("[data-layer][data-value]").evaluateAll(
        (all) => all.map((one) => [Number(one.dataset.layer), Number(one.dataset.value)]));
      assert.ok(points.length >= run.path.length - 1, `${points.length} points`);
      for (const [layer, product] of points) {
        assert.ok(same(product, norm(layer) / norm(end)),
          `layer ${layer}: ${product}, not ${norm(layer) / norm(end)}`);
      }
    });

    test("histogram: shares of the octaves are the server's", async () => {
      await open("vanishing");
      const id = await place.server.id("vanishing");
      const run = await place.server.json(`/api/runs/${id}`);
      assert.ok(run.histograms.includes("gradient"), "the log has no histograms");
      await view.go(7, 300);
      await view.settled();
      const panel = view.region("Histogram");
      assert.ok((await view.colours(panel.locator("canvas").first())) > 2);
      await panel.getByRole("slider").focus();
      await view.page.keyboard.press("ArrowLeft");
      await view.settled();
      // They are recorded seldom: the first one at the column's first step or behind it.
      const step = Number(await panel.locator("[data-step]").getAttribute("data-step"));
      const role = /^(\w+?)s? of layer 7/m.exec(await panel.innerText())[1];
      const tile = readTile(await place.server.bytes(`/api/runs/${id}/histogram?` + new URLSearchParams(
        { role, layer: 7, first: step, last: LAST, columns: LAST + 1 - step })));
      const filled = (column) => Array.from({ length: tile.nRows }, (_, row) => row).some((row) => tile.at(row, column).mean !== null);
      const column = Array.from({ length: tile.nColumns }, (_, c) => c).find(filled);
      assert.ok(tile.starts[column] < step + 4, `${tile.starts[column]} is not about ${step}`);
      const bars = await panel.locator("[data-octave]").evaluateAll((all) =>
        all.map((one) => [Number(one.dataset.octave), Number(one.dataset.value)]));
      assert.ok(bars.length > 3, `${bars.length} octaves at step ${step}`);
      for (const [octave, share] of bars) {
        const { mean } = tile.at(octave - tile.firstOctave, column);
        assert.ok(close(share, mean), `octave ${octave} at step ${step}: ${share}, not ${mean}`);
      }
    });

    test("table: the map's values, and as a file", async () => {
      await open("vanishing");
      const id = await place.server.id("vanishing");
      const series = await view.quantity.inputValue();
      await view.button("Table").click();
      const table = view.page.getByRole("table", { name: "Heat map as a table" });
      await table.waitFor();
      const cells = await table.locator("td[data-value]").evaluateAll((all) => all.map((cell) =>
        [cell.dataset.layer, cell.dataset.step, cell.dataset.lastStep, cell.dataset.value]));
      assert.ok(cells.length >= 20 * 5, `${cells.length} cells`);
      for (const [layer, first, last, value] of cells.filter((_, i) => i % 37 === 0)) {
        const tile = await tileOf(place.server, id, series, { first, last, columns: 1 });
        const { mean } = tile.at(Number(layer), 0);
        assert.ok(close(value === "" ? null : Number(value), mean), `layer ${layer}, ${first}: ${value}, not ${mean}`);
      }
      const rows = await csvOf(view);
      const run = await place.server.json(`/api/runs/${id}`);
      const names = rows.slice(1).flat();
      for (const { name } of run.findings.network.layers) assert.ok(names.includes(name), `${name} is not in it`);
      assert.ok(rows.every((row) => row.length === rows[0].length), "ragged");
    });

    test("print: the sheet is not blank, and has all panels", async () => {
      await open("vanishing");
      const pdf = await view.page.pdf();
      const pages = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g).length;
      assert.ok(pdf.length > 20_000 && pages >= 1 && pages <= 8, `${pdf.length} bytes, ${pages} pages`);
      await view.page.emulateMedia({ media: "print", colorScheme: "dark" });
      const shot = await view.page.screenshot({ fullPage: true });
      const paper = await view.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
      assert.match(paper, /rgba?\((2[45]\d, ){2}2[45]\d|rgba\(0, 0, 0, 0\)/, "prints dark on paper");
      assert.ok(shot.length > 20_000, `${shot.length} bytes`);
      for (const name of ["Verdict", "Findings", "Heat map", "Curves"]) {
        assert.ok(await view.region(name).isVisible(), `${name} is not printed`);
      }
    });
  });
}

/** The rows of the file that the button gives, read as RFC 4180 says. */
async function csvOf(from) {
  const [download] = await Promise.all([from.page.waitForEvent("download"),
    from.page.locator("button, a").filter({ hasText: "CSV" }).first().click()]);
  assert.match(download.suggestedFilename(), /^[\w.-]+\.csv$/);
  return parseCsv(readFileSync(await download.path(), "utf8"));
}
