// SPDX-License-Identifier: Apache-2.0
// Makes the README's pictures of the page from a report, light and dark, in the browser of
// tests/browser (npm ci there first):
//
//   printf '%s\n' 'version: 1' 'data: digits' 'net: [40 x dense 24 relu, dense 10]' \
//     'init: {he: {gain: 1.06}}' 'train: {learning_rate: 0.03, momentum: 0.9, epochs: 12}' > deep.yaml
//   backprobe train deep.yaml --every 1 --run deep
//   backprobe report deep -o deep.html
//   node tools/page_pictures.mjs deep.html docs/pictures
//
// docs/pictures/map.svg: backprobe train examples/batch_norm_40.yaml --every 1 --run batch_norm_40
//   backprobe report batch_norm_40 -o docs/pictures/map.svg
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { launch } from "../tests/browser/browser.mjs";

const [report, folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: page_pictures.mjs REPORT.html FOLDER");
  process.exit(2);
}
const WIDTH = 1440, HEIGHT = 1500, SCALE = 1.5, QUALITY = 85;

const browser = await launch();
for (const scheme of ["light", "dark"]) {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: HEIGHT }, colorScheme: scheme,
    deviceScaleFactor: SCALE });
  await page.goto(pathToFileURL(resolve(report)).href);
  await page.locator("canvas").first().waitFor();
  await page.waitForTimeout(500); // pictures are drawn in frames of their own
  const session = await page.context().newCDPSession(page); // Playwright itself has no WebP
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: QUALITY });
  const path = `${folder}/page-${scheme}.webp`;
  await writeFile(path, Buffer.from(data, "base64"));
  console.log(`${path}: ${Math.round(data.length * 3 / 4 / 1000)} kB`);
  await page.close();
}
await browser.close();
