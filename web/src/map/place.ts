// SPDX-License-Identifier: Apache-2.0
// Places of elements, set through the object model: the page's policy forbids style attributes.
type Side = "top" | "left" | "width" | "height" | "right";

/** A ref that puts its element there, in pixels. */
export const placed = (sides: Partial<Record<Side, number>>) => (element: HTMLElement | null): void => {
  if (!element) return;
  for (const [side, pixels] of Object.entries(sides)) element.style.setProperty(side, `${pixels}px`);
};
