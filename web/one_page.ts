// SPDX-License-Identifier: Apache-2.0
// Makes one file of what Vite built, dist/page.html: script and style stand in it, and a content
// security policy that lets these two run and nothing else.
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const MARKER = "<!--backprobe:data-->"; // a report puts its data here
const MOST_BYTES = 100_000; // of the page, gzipped

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

function policy(script: string, style: string): string {
  return `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; ` +
    "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'";
}

function page(script: string, style: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy(script, style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Backprobe</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<div id="page"></div>
<noscript>This page draws its picture with JavaScript. It loads nothing from elsewhere.</noscript>
${MARKER}
<script type="module">${script}</script>
</body>
</html>
`;
}

// What would end the element that the text stands in.
function refuse(kind: string, text: string, ending: RegExp): string {
  if (ending.test(text)) throw new Error(`the ${kind} contains ${ending}, which would end it early`);
  return text;
}

export function onePage(): Plugin {
  return {
    name: "backprobe-one-page",
    enforce: "post",
    generateBundle(_options, bundle) {
      let script = "", style = "", others: string[] = [];
      for (const [name, file] of Object.entries(bundle)) {
        if (file.type === "chunk") script += file.code;
        else if (name.endsWith(".css")) style += String(file.source);
        else if (!name.endsWith(".html")) others.push(name);
        delete bundle[name];
      }
      if (!script || !style || others.length > 0)
        throw new Error(`expected a script, a style and nothing else; got also: ${others.join(", ")}`);
      script = refuse("script", script.trim(), /<\/script|<!--/i);
      style = refuse("style", style.trim(), /<\/style/i);
      const source = page(script, style);
      const bytes = gzipSync(source, { level: 9 }).length;
      if (bytes > MOST_BYTES)
        throw new Error(`page.html has ${bytes} bytes gzipped, more than the ${MOST_BYTES} that it may have`);
      console.log(`page.html: ${source.length} bytes, ${bytes} gzipped (at most ${MOST_BYTES})`);
      this.emitFile({ type: "asset", fileName: "page.html", source });
    },
  };
}
