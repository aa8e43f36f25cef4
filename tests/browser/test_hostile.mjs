// SPDX-License-Identifier: Apache-2.0
// Names that want to be markup, formulas or other text than they are.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { HOSTILE_RUN, hostileNames } from "./fixtures.mjs";
import { KINDS, Place } from "./kinds.mjs";
import { parseCsv } from "./csv.mjs";
import { picture } from "./view.mjs";

let place;
before(async () => { place = await Place.open(); });
after(() => place?.close());

/** What a name may have become that is never an element of ours. */
const INTRUDERS = "img, iframe, object, embed, [onerror], [onload], [onmouseover], a[href^='javascript:']";
// Characters that nobody sees or that turn text around are told by their numbers, or left as they are
// inside an isolated element.
const plain = (text) => text.replace(/[\p{Cc}\p{Cf}]|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|[\u2400-\u243f]/giu, "");

for (const kind of KINDS) {
  test(`names are text and nothing else, ${kind}`, async () => {
    const view = await place.run(kind, HOSTILE_RUN);
    try {
      assert.equal(await view.page.locator(INTRUDERS).count(), 0);
      const scripts = await view.page.locator("script").evaluateAll((all) => all.map((one) => one.type));
      assert.ok(scripts.every((type) => ["module", "application/json"].includes(type)), scripts.join());
      const { length } = hostileNames();
      for (let layer = 1; layer <= length; layer++) {
        await view.go(layer, 5);
        const cell = await view.cell();
        assert.ok(plain(cell.text).includes(plain(hostileNames()[layer - 1])),
          `layer ${layer}: ${hostileNames()[layer - 1]} is not in ${cell.text}`);
      }
      await view.go(length + 1, 5); // a name of 10,000 letters
      assert.deepEqual(await view.tooWide(), []);
      await view.unfold(view.region("Findings"));
      await view.button("Table").click();
      await view.settled();
      assert.equal(await view.page.locator(INTRUDERS).count(), 0);
      await picture(view.page, `hostile-${kind}`);

      const [download] = await Promise.all([view.page.waitForEvent("download"),
        view.page.locator("button, a").filter({ hasText: "CSV" }).first().click()]);
      assert.match(download.suggestedFilename(), /^[\w.-]+\.csv$/);
      const cells = parseCsv(readFileSync(await download.path(), "utf8")).flat();
      for (const cell of cells) {
        assert.ok(!/^[=@\t\r]|^[+-](?![\d.]|Infinity)/.test(cell), `a spreadsheet would compute ${cell}`);
      }
      assert.ok(cells.some((cell) => cell.includes("HYPERLINK")));
      view.assertClean();
    } finally {
      await view.close();
    }
  });
}

test("the folder's name is text in the list, the title and the address", async () => {
  const view = await place.list();
  try {
    const link = view.region("Runs").getByRole("link").filter({ hasText: "onerror" });
    await link.waitFor();
    assert.ok(plain(await link.innerText()).includes(plain(HOSTILE_RUN)));
    assert.equal(await view.page.locator(INTRUDERS).count(), 0);
    await link.click();
    await view.ready();
    assert.ok(plain(await view.page.title()).includes(plain(HOSTILE_RUN)));
    assert.ok(!(await view.page.title()).includes("\u202e"), "the title turns the window's name around");
    view.assertClean();
  } finally {
    await view.close();
  }
});

test("the report's file holds no markup of a name", () => {
  const text = readFileSync(place.reportFile([HOSTILE_RUN]), "utf8");
  for (const bad of ["<img src=x", "<script>alert", "</script><script>alert", "<svg onload"]) {
    assert.ok(!text.includes(bad), bad);
  }
});
