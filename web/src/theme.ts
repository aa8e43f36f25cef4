// SPDX-License-Identifier: Apache-2.0
// Light or dark: as the system has it, unless somebody chose. <html data-theme> always tells which.
import { useEffect, useState } from "preact/hooks";

export type ThemeChoice = "system" | "light" | "dark";

const NAMES = ["paper", "raised", "ink", "muted", "line", "accent", "error", "warning", "hint", "good", "mono", "sans"] as const;
export type ThemeColours = Record<(typeof NAMES)[number], string> & { dark: boolean };

const KEY = "backprobe-theme";
const CHANGED = "backprobe-theme";
const darkSystem = matchMedia("(prefers-color-scheme: dark)");

export function themeChoice(): ThemeChoice {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system"; // a report opened from a file may not remember
  }
}

let printing = false; // on white paper

function apply(choice: ThemeChoice): void {
  const dark = !printing && (choice === "dark" || (choice === "system" && darkSystem.matches));
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  dispatchEvent(new Event(CHANGED));
}

export function chooseTheme(choice: ThemeChoice): void {
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // it holds until the page is closed
  }
  apply(choice);
}

export function startTheme(): void {
  apply(themeChoice());
  darkSystem.addEventListener("change", () => apply(themeChoice()));
  for (const moment of ["beforeprint", "afterprint"])
    addEventListener(moment, () => {
      printing = moment === "beforeprint";
      apply(themeChoice());
    });
}

function read(): ThemeColours {
  const style = getComputedStyle(document.documentElement);
  const colours = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { ...colours, dark: document.documentElement.dataset.theme === "dark" } as ThemeColours;
}

/** The colours of style.css for canvases, again when the theme changes. */
export function useTheme(): ThemeColours {
  const [colours, setColours] = useState(read);
  useEffect(() => {
    const changed = (): void => setColours(read());
    addEventListener(CHANGED, changed);
    return () => removeEventListener(CHANGED, changed);
  }, []);
  return colours;
}
