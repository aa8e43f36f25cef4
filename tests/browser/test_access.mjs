// SPDX-License-Identifier: Apache-2.0
// For everybody: axe-core's rules, the keyboard alone, small windows, both themes, little motion.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { NARROW, PHONE, WIDE } from "./browser.mjs";
import { KINDS, Place } from "./kinds.mjs";
import { until } from "./programs.mjs";
import { picture } from "./view.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let place;
before(async () => { place = await Place.open(); });
after(() => place?.close());

async function violations(page) {
  // Evaluated from outside, where the page's policy does not reach.
  await page.evaluate(AXE);
  const { violations: all } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return all.flatMap(({ id, help, nodes }) => nodes.map((node) =>
    `${id} (${help}): ${node.target.join(" ")} ${node.any[0]?.message ?? ""}`));
}

/** The states of a run's view that look different. */
const STATES = {
  async plain() {},
  async opened(view) {
    await view.unfold(view.region("Findings"));
    await view.go(3, 20);
  },
  async table(view) {
    await view.button("Table").click();
    await view.page.getByRole("table", { name: "Heat map as a table" }).waitFor();
  },
};
const SIZES = { wide: WIDE, phone: PHONE };
// Each theme with each size, each kind of run at least once.
const RUNS_OF = {
  "light wide": [["served", "vanishing"], ["report", "exploding"]],
  "dark phone": [["report", "resnet"], ["served", "exploding"]],
  "light phone": [["served", "healthy"]],
  "dark wide": [["served", "vanishing"]],
};

for (const [look, runs] of Object.entries(RUNS_OF)) {
  const [colorScheme, size] = look.split(" ");
  const options = { viewport: SIZES[size], colorScheme };
  const clean = async (view, name) => {
    assert.deepEqual(await violations(view.page), []);
    assert.deepEqual(await view.tooWide(), []);
    await picture(view.page, `${name}-${size}-${colorScheme}`);
  };
  const visited = async (view, body) => {
    try {
      await body(view);
      view.assertClean();
    } finally {
      await view.close();
    }
  };

  describe(`axe, ${colorScheme}, ${size}`, () => {
    for (const [kind, name] of runs) {
      test(`${name}, ${kind}`, async () => {
        await visited(await place.run(kind, name, options), async (view) => {
          for (const [state, enter] of Object.entries(STATES)) {
            await enter(view);
            await view.settled();
            await clean(view, `${name}-${kind}-${state}`);
          }
        });
      });
    }

    test("list", async () => {
      await visited(await place.list(options), async (view) => {
        await view.region("Runs").getByRole("link").first().waitFor();
        await clean(view, "list");
      });
    });

    test("comparison", async () => {
      await visited(await place.compared("served", ["vanishing", "residual"], options),
        (view) => clean(view, "compare"));
    });
  });
}

describe("small windows", () => {
  for (const viewport of [NARROW, PHONE, { width: 768, height: 1024 }]) {
    test(`${viewport.width} px: nothing runs out of the window, all can be touched`, async () => {
      const view = await place.run("served", "vanishing", { viewport, hasTouch: true });
      try {
        await STATES.opened(view);
        assert.deepEqual(await view.tooWide(), []);
        const small = await view.page.locator("button:visible, select:visible, a:visible").evaluateAll((all) =>
          all.map((one) => [one.innerText || one.ariaLabel, one.getBoundingClientRect()])
            .filter(([, box]) => box.height < 24 || box.width < 24).map(([name]) => name));
        assert.deepEqual(small, [], "targets below 24 px");
        view.assertClean();
      } finally {
        await view.close();
      }
    });
  }
});

describe("keyboard alone", () => {
  /** Tab after Tab until the focus leaves the page, or nothing new comes. */
  async function walk(page, key) {
    const stops = [];
    for (let i = 0; i < 400; i++) {
      await page.keyboard.press(key);
      const stop = await page.evaluate(() => {
        const one = document.activeElement;
        if (!one || one === document.body) return null;
        globalThis.stops ??= new Map();
        if (!stops.has(one)) stops.set(one, stops.size);
        const box = one.getBoundingClientRect(), style = getComputedStyle(one);
        const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1
          || style.boxShadow !== "none";
        return { number: stops.get(one), name: one.ariaLabel || one.innerText?.slice(0, 40) || one.id || one.tagName,
          visible: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight
            && box.right > 0 && box.left < innerWidth, outlined };
      });
      if (stop === null) return stops;
      if (stops.length && stop.number === stops[0].number) return stops;
      assert.ok(stops.length === 0 || stop.number !== stops.at(-1).number, `the focus is caught in ${stop.name}`);
      stops.push(stop);
    }
    throw new Error(`no end after ${stops.length} stops`);
  }

  for (const kind of KINDS) {
    test(`${kind}: every stop is seen, none is a trap, the way back is the same`, async () => {
      const view = await place.run(kind, "vanishing");
      try {
        await view.page.evaluate(() => { // from the page's beginning on
          const start = document.createElement("span");
          start.tabIndex = -1;
          document.body.prepend(start);
          start.focus();
          start.remove();
        });
        const there = await walk(view.page, "Tab");
        assert.ok(there.length >= 8, there.map((stop) => stop.name).join(", "));
        for (const stop of there) {
          assert.ok(stop.visible, `${stop.name} has the focus and is not in sight`);
          assert.ok(stop.outlined, `${stop.name} does not show that it has the focus`);
        }
        const back = await walk(view.page, "Shift+Tab");
        assert.deepEqual(back.map((stop) => stop.name).reverse(), there.map((stop) => stop.name));
        view.assertClean();
      } finally {
        await view.close();
      }
    });
  }

  test("from the list to a finding's remedy, the map, its table and another quantity, without a mouse", async () => {
    const view = await place.list();
    try {
      const page = view.page;
      const tabTo = async (locator, most = 60) => {
        for (let i = 0; i < most; i++) {
          if (await locator.evaluate((one) => one === document.activeElement)) return;
          await page.keyboard.press("Tab");
        }
        assert.fail(`not reached in ${most} tabs: ${locator}`);
      };
      const link = view.region("Runs").getByRole("link", { name: "vanishing", exact: true });
      await link.waitFor();
      await tabTo(link);
      await page.keyboard.press("Enter");
      await view.ready();
      const finding = view.region("Findings").getByRole("button").first();
      await tabTo(finding);
      await page.keyboard.press("Enter");
      await until("the chosen finding", async () => (await finding.getAttribute("aria-current")) === "true");
      assert.equal(await finding.getAttribute("aria-expanded"), "true");
      await tabTo(view.quantity);
      const quantity = await view.quantity.inputValue();
      await page.keyboard.press("ArrowDown");
      await until("another quantity", async () => (await view.quantity.inputValue()) !== quantity);
      await tabTo(view.map);
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Home");
      const cell = await view.cell();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowRight");
      const next = await view.cell();
      assert.equal(next.layer, cell.layer + 1);
      assert.ok(next.first > cell.first);
      const table = view.button("Table");
      await page.keyboard.press("Tab");
      for (let i = 0; i < 60 && !(await table.evaluate((one) => one === document.activeElement)); i++) {
        await page.keyboard.press(i < 30 ? "Tab" : "Shift+Tab");
      }
      await page.keyboard.press("Enter");
      await page.getByRole("table", { name: "Heat map as a table" }).waitFor();
      view.assertClean();
    } finally {
      await view.close();
    }
  });
});

describe("theme and motion", () => {
  const dark = (page) => page.evaluate(() => {
    const [r, g, b] = getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number);
    return r + g + b < 3 * 80;
  });

  test("the system's theme, then one's own, which stays", async () => {
    const view = await place.run("served", "vanishing", { colorScheme: "dark" });
    try {
      assert.equal(await dark(view.page), true);
      const drawn = () => view.region("Curves").locator("canvas").first().evaluate((canvas) => canvas.toDataURL());
      const night = await drawn();
      const button = view.page.getByRole("button", { name: /theme/i });
      await button.click(); // the system's, light, dark, in turn
      await until("a light page", async () => !(await dark(view.page)));
      await view.settled();
      assert.notEqual(await drawn(), night, "the canvas keeps the other theme's colours");
      await view.page.reload();
      await view.ready();
      assert.equal(await dark(view.page), false);
      view.assertClean();
    } finally {
      await view.close();
    }
  });

  test("nothing moves for who wants little motion", async () => {
    const view = await place.run("served", "vanishing", { reducedMotion: "reduce" });
    try {
      await view.region("Findings").getByRole("button").first().click();
      const moving = await view.page.evaluate(() => document.getAnimations()
        .filter((one) => one.effect?.getComputedTiming().duration > 1).length);
      assert.equal(moving, 0);
      view.assertClean();
    } finally {
      await view.close();
    }
  });

  test("forced colours: words and marks stay", async () => {
    const view = await place.run("served", "vanishing", { forcedColors: "active" });
    try {
      assert.match(await view.region("Verdict").innerText(), /error/i);
      assert.deepEqual(await violations(view.page), []);
      view.assertClean();
    } finally {
      await view.close();
    }
  });
});
