// SPDX-License-Identifier: Apache-2.0
import { render } from "preact";
import { App } from "./app";
import { openEmbedded } from "./source/embedded";
import { openHttp } from "./source/http";
import type { Source } from "./source/source";
import type { Embedded } from "./source/types";
import { startTheme } from "./theme";
import "./style.css";

function open(): Source {
  const data = document.getElementById("backprobe-data");
  return data ? openEmbedded(JSON.parse(data.textContent ?? "") as Embedded) : openHttp();
}

startTheme();
const root = document.getElementById("page")!;
try {
  render(<App source={open()} />, root);
} catch (reason) {
  root.textContent = `This page cannot be shown: ${reason instanceof Error ? reason.message : String(reason)}`;
}
