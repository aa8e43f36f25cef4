// SPDX-License-Identifier: Apache-2.0
export { Chain } from "./chain";
export { CURVE_SERIES, Curves, type CurveRun } from "./curves";
export type { CurveMark } from "./curve_marks";
export { FindingsList } from "./findings";
export { Histogram } from "./histogram";
export { findingKey, layerName, openRoots, rootNumber } from "./sentences";
export { MapTable, toCsv } from "./table";
export { Verdict } from "./verdict";
import "./panels.css";
