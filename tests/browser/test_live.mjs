// SPDX-License-Identifier: Apache-2.0
// While a training runs; and when the server goes and comes back.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { network } from "./fixtures.mjs";
import { Place } from "./kinds.mjs";
import { Process, Server, checked, until } from "./programs.mjs";

const LIVE = /\blive\b/i, LOST = /connection/i;

describe("live", () => {
  let folder, place, view, training;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "backprobe-live-"));
    place = await Place.open(folder);
  });
  after(async () => {
    await place?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    await view?.close();
    await training?.stop("SIGKILL");
    view = training = undefined;
  });

  const train = (name, epochs) => {
    training = new Process(["train", network("vanishing"), "--every", "1", "--quiet", "--epochs",
      String(epochs), "--run", join(folder, name)]);
  };
  const statuses = async () => (await view.page.getByRole("status").allInnerTexts()).join(" ");
  const lastStep = async () => (await view.span()).last;

  test("a training that begins is listed, its steps rise, its findings appear; then it ends", async () => {
    view = await place.list();
    await view.page.getByRole("main").waitFor();
    train("growing", 100_000);
    await view.region("Runs").getByRole("link", { name: "growing", exact: true }).click();
    await view.ready();
    await until("the live mark", async () => LIVE.test(await statuses()));
    const first = await lastStep();
    await until("more steps", async () => (await lastStep()) > first + 100);
    await view.region("Findings").getByRole("button", { name: /layers \d+–\d+/i }).first().waitFor();
    await view.press("ArrowDown", "Home"); // the cursor stays where it was put, while steps come
    const cell = await view.cell(), then = await lastStep();
    await until("still more steps", async () => (await lastStep()) > then + 50);
    assert.equal((await view.cell()).first, cell.first);

    assert.equal(await training.stop("SIGINT"), 130);
    await until("no live mark", async () => !LIVE.test(await statuses()));
    const { steps, findings } = checked(join(folder, "growing"));
    await until(() => `all ${steps.last} steps`, async () => (await lastStep()) === steps.last);
    for (const finding of findings) await view.finding(finding).waitFor();
    view.assertClean();
  });

  test("who has zoomed in is not pulled away by new steps", async () => {
    train("zoomed", 100_000);
    view = await place.list();
    await view.region("Runs").getByRole("link", { name: "zoomed", exact: true }).click();
    await view.ready();
    await until("some steps", async () => (await lastStep()) > 200);
    await view.press("Home", "+", "+");
    await view.settled();
    const { first, last } = await view.span();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual(await view.span(), { first, last });
    view.assertClean();
  });

  test("a server that goes is told, and one that comes back is found again", async () => {
    train("lost", 100_000);
    view = await place.list();
    await view.region("Runs").getByRole("link", { name: "lost", exact: true }).click();
    await view.ready();
    const { port, token } = place.server;
    await place.server.stop();
    await until("word of the lost connection", async () =>
      LOST.test(`${await statuses()} ${await view.page.getByRole("alert").allInnerTexts()}`));
    const then = await lastStep();
    place.server = await Server.start(folder, { port, token });
    await until("the connection", async () =>
      !LOST.test(`${await statuses()} ${await view.page.getByRole("alert").allInnerTexts()}`));
    await until("new steps", async () => (await lastStep()) > then);
    // What the browser itself says of a server that is not there is not the page's.
    view.watched.messages = view.watched.messages.filter((text) => !/Failed to load resource/.test(text));
    view.assertClean();
  });
});
