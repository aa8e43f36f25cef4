// SPDX-License-Identifier: Apache-2.0
// The list of runs: short, and of hundreds; and two runs side by side.
import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { MANY, N_MANY, RUNS } from "./fixtures.mjs";
import { KINDS, Place } from "./kinds.mjs";
import { checked, until } from "./programs.mjs";
import { picture } from "./view.mjs";

async function visited(view, body) {
  try {
    await body(view);
    view.assertClean();
  } finally {
    await view.close();
  }
}

describe("list of runs", () => {
  let place;
  before(async () => { place = await Place.open(); });
  after(() => place?.close());

  test("names every run, with its end and its worst finding", async () => {
    await visited(await place.list(), async (view) => {
      const list = view.region("Runs");
      await list.getByRole("link", { name: "vanishing", exact: true }).waitFor();
      const { runs } = await place.server.json("/api/runs");
      assert.equal(await list.getByRole("link").count(), runs.length);
      for (const name of ["vanishing", "exploding"]) {
        const row = list.locator("tr, li").filter({ has: view.page.getByRole("link", { name, exact: true }) });
        const worst = checked(join(RUNS, name)).findings[0];
        const text = await row.first().innerText();
        assert.match(text, new RegExp(`${worst.severity}|${worst.problem}`, "i"));
      }
      await picture(view.page, "list");
    });
  });

  test("back and forward lead where one was; a run has an address of its own", async () => {
    await visited(await place.run("served", "vanishing"), async (view) => {
      const address = view.page.url();
      assert.ok(!address.includes("token"), "the token stays out of the address");
      await view.page.goBack();
      await view.region("Runs").waitFor();
      await view.page.goForward();
      await view.ready();
      await view.page.reload();
      await view.ready();
      assert.equal(view.page.url(), address);
      assert.match(await view.page.title(), /vanishing/);
    });
  });

  test("a run that is gone is said to be, in words", async () => {
    await visited(await place.list(), async (view) => {
      await view.region("Runs").getByRole("link", { name: "healthy", exact: true }).click();
      await view.ready();
      const id = await place.server.id("healthy");
      const gone = view.page.url().replace(encodeURIComponent(id), "0123456789abcdef");
      assert.notEqual(gone, view.page.url());
      await view.page.goto(gone);
      await view.page.reload();
      await view.page.getByRole("alert").first().waitFor();
      // The browser itself reports the 404 that the page asked for.
      view.watched.messages = view.watched.messages.filter((text) => !text.includes("404"));
    });
  });

  for (const kind of KINDS) {
    test(`two runs side by side: both sentences, both maps, both curves; ${kind}`, async () => {
      await visited(await place.compared(kind, ["vanishing", "residual"]), async (view) => {
        const text = await view.page.getByRole("main").innerText();
        for (const name of ["vanishing", "residual"]) assert.ok(text.includes(name), name);
        for (const one of await view.map.all()) {
          assert.ok(await view.colours(one.locator("canvas").first()) > 10);
        }
        const spans = await Promise.all((await view.map.all()).map((one) => one.getAttribute("data-last")));
        assert.equal(spans[0], spans[1], "the same steps on both");
        await picture(view.page, `compare-${kind}`);
        await view.page.reload();
        await until("two maps again", async () => (await view.map.count()) === 2);
      });
    });
  }
});

describe(`list of ${N_MANY} runs`, () => {
  let place;
  before(async () => { place = await Place.open(MANY); });
  after(() => place?.close());

  test("all are there, the list is found through, and opens by the keyboard", async () => {
    await visited(await place.list(), async (view) => {
      const links = view.region("Runs").getByRole("link");
      await until("every run", async () => (await links.count()) === N_MANY);
      const filter = view.region("Runs").getByRole("searchbox");
      await filter.fill("run-123");
      await until("one run", async () => (await links.count()) === 1);
      await filter.press("Tab");
      await links.first().focus();
      await view.page.keyboard.press("Enter");
      await view.ready();
      assert.match(await view.page.title(), /run-123/);
    });
  });

  test("a run that comes is listed, one that goes is not", async () => {
    await visited(await place.list(), async (view) => {
      const late = join(MANY, "zz-late");
      const link = view.region("Runs").getByRole("link", { name: "zz-late", exact: true });
      await view.region("Runs").getByRole("link").first().waitFor();
      try {
        cpSync(join(MANY, "run-000"), late, { recursive: true });
        await link.waitFor();
      } finally {
        rmSync(late, { recursive: true, force: true });
      }
      await link.waitFor({ state: "detached" });
    });
  });
});
