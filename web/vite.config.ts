// SPDX-License-Identifier: Apache-2.0
import { defineConfig } from "vite";
import { onePage } from "./one_page.ts";

export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  plugins: [onePage()],
  // While developing: a server that `backprobe serve` started, named in BACKPROBE_SERVER.
  server: process.env.BACKPROBE_SERVER ? { proxy: { "/api": process.env.BACKPROBE_SERVER } } : {},
});
