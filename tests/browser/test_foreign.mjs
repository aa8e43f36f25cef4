// SPDX-License-Identifier: Apache-2.0
// Pages of other origins in the browser in which somebody is logged in: they get nothing. evil.test
// is this machine, by the browser's own table of names.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { openWatched } from "./browser.mjs";
import { Place } from "./kinds.mjs";

let place, evil, id;
before(async () => {
  evil = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>evil</title><p>evil");
  });
  evil.listen(0, "127.0.0.1");
  await once(evil, "listening");
  place = await Place.open(undefined, { chromium: ["--host-resolver-rules=MAP evil.test 127.0.0.1"] });
  id = await place.server.id("vanishing");
});
after(async () => {
  await place?.close();
  evil?.close();
  evil?.closeAllConnections();
});

/** Every way in which a page reads something of another; what came of it, as words. */
async function steal(target, id) {
  const results = {};
  const paths = ["/", "/api/runs", `/api/runs/${id}`, `/api/runs/${id}/tile?series=gain`, `/api/events?run=${id}`];
  for (const path of paths) {
    for (const mode of ["cors", "no-cors", "same-origin"]) {
      results[`${mode} ${path}`] = await fetch(target + path, { mode, credentials: "include",
        signal: AbortSignal.timeout(3000) }).then(async (answer) =>
        `${answer.type} ${answer.status} ${(await answer.text()).length}`, () => "refused");
    }
  }
  results.events = await new Promise((resolve) => {
    const source = new EventSource(`${target}/api/events?run=${id}`, { withCredentials: true });
    source.onopen = () => resolve("open");
    source.onmessage = (event) => resolve(`message ${event.data}`);
    source.onerror = () => { resolve("refused"); source.close(); };
  });
  for (const [tag, name] of [["img", "src"], ["script", "src"], ["iframe", "src"], ["object", "data"]]) {
    const element = document.createElement(tag);
    results[tag] = await new Promise((resolve) => {
      element.onload = () => resolve("load");
      element.onerror = () => resolve("refused");
      element[name] = `${target}/api/runs`;
      document.body.append(element);
      setTimeout(() => resolve("nothing"), 1500);
    });
  }
  results.window = await new Promise((resolve) => {
    const opened = open(`${target}/`);
    setTimeout(() => {
      try {
        resolve(opened === null ? "refused" : `read ${opened.document.body.innerText}`);
      } catch {
        resolve("refused");
      }
      opened?.close();
    }, 500);
  });
  return results;
}

for (const [who, host, sendsCookie] of [["the same machine, another port", "127.0.0.1", true],
  ["another site", "evil.test", false]]) {
  test(`a page of ${who} gets nothing`, async () => {
    const view = await place.list(); // logged in, in this very context
    try {
      await view.region("Runs").getByRole("link").first().waitFor();
      const page = await view.context.newPage();
      const headers = [], bodies = [];
      page.on("request", (request) => headers.push(request.allHeaders()));
      page.on("response", (answer) => {
        if (new URL(answer.url()).port === String(place.server.port)) bodies.push(answer);
      });
      await page.goto(`http://${host}:${evil.address().port}/`);
      const results = await page.evaluate(([code, target, run]) =>
        new Function(`return (${code})`)()(target, run), [steal.toString(), place.server.origin, id]);
      for (const [way, result] of Object.entries(results)) {
        assert.ok(/^(refused|nothing|opaque 0 0)$/.test(result) || (result === "load" && way === "iframe"),
          `${way}: ${result}`);
      }
      for (const answer of bodies) {
        // What a link leads to is shown to who follows it; all else is an error.
        const isLink = answer.request().isNavigationRequest() && answer.frame() !== page.mainFrame()
          && answer.frame().parentFrame() === null;
        if (!isLink) assert.ok(answer.status() >= 400, `${answer.url()}: ${answer.status()}`);
      }
      for (const frame of page.frames().slice(1)) {
        assert.doesNotMatch(await frame.content().catch(() => ""), /vanishing|backprobe\.runs/);
      }
      if (!sendsCookie) {
        for (const { cookie } of await Promise.all(headers)) {
          assert.ok(!cookie?.includes(place.server.cookie.split("=")[0]), "the cookie went to another site");
        }
      }
    } finally {
      await view.close();
    }
  });
}

test("rebinding: a name that leads here is not ours, and gets nothing", async () => {
  const watched = await openWatched(place.browser);
  try {
    const target = `http://evil.test:${place.server.port}`;
    for (const path of ["/", `/?token=${place.server.token}`, "/api/runs", `/api/runs/${id}`]) {
      const answer = await watched.page.goto(target + path);
      assert.ok(answer.status() >= 400, `${path}: ${answer.status()}`);
      assert.equal(answer.headers()["set-cookie"], undefined);
      assert.doesNotMatch(await answer.text(), /vanishing|backprobe\.runs|<script/);
    }
    // From inside a page of that name its requests look like the origin's own.
    const got = await watched.page.evaluate(async (path) => {
      const answer = await fetch(path);
      return [answer.status, await answer.text()];
    }, "/api/runs");
    assert.ok(got[0] >= 400 && !got[1].includes("vanishing"), String(got));
    assert.deepEqual(await watched.context.cookies(), []);
  } finally {
    await watched.close();
  }
});

describe("the token", () => {
  const asked = async (path, options) => {
    const watched = await openWatched(place.browser, options);
    try {
      const answer = await watched.page.goto(place.server.origin + path);
      return { status: answer.status(), text: await watched.page.locator("body").innerText(),
        api: await watched.page.evaluate(() => fetch("/api/runs").then((one) => one.status)),
        cookies: await watched.context.cookies() };
    } finally {
      await watched.close();
    }
  };

  for (const [what, path] of [["none", "/"], ["a wrong one", `/?token=${"0".repeat(32)}`],
    ["an empty one", "/?token="]]) {
    test(`with ${what} there is a word of what to do, and nothing else`, async () => {
      const { status, text, api, cookies } = await asked(path);
      assert.ok([401, 403].includes(status), String(status));
      assert.match(text, /token|address/i);
      assert.ok([401, 403].includes(api), String(api));
      assert.deepEqual(cookies, []);
    });
  }

  test("the cookie cannot be read by scripts, nor sent from elsewhere; nothing is kept or sniffed", async () => {
    const view = await place.list();
    try {
      await view.region("Runs").waitFor();
      const [cookie] = await view.context.cookies();
      assert.equal(cookie.httpOnly, true);
      assert.equal(cookie.sameSite, "Strict");
      assert.equal(await view.page.evaluate(() => document.cookie), "");
      assert.ok(!view.page.url().includes("token"));
      for (const path of ["/", "/api/runs", "/nothing"]) {
        const { headers } = await place.server.get(path);
        assert.match(headers.get("content-security-policy"), /default-src 'none'/);
        assert.match(headers.get("content-security-policy"), /frame-ancestors 'none'/);
        assert.doesNotMatch(headers.get("content-security-policy"), /unsafe/);
        assert.equal(headers.get("x-content-type-options"), "nosniff");
        assert.equal(headers.get("referrer-policy"), "no-referrer");
        assert.match(headers.get("cache-control"), /no-store/);
        assert.equal(headers.get("cross-origin-resource-policy"), "same-origin");
      }
      view.assertClean();
    } finally {
      await view.close();
    }
  });
});
