/**
 * Contrast by WCAG 2.2 as the browser draws it: every text against the nearest background that is
 * not transparent (4.5 to 1 is asked for), and every coloured mark of a chart against its card
 * (3 to 1). Tracks that only show what is left of a bar are exempt, since the bar's own words say
 * it, and gridlines.
 * Runs in the page, hence a text.
 */
import type { Page } from "playwright-core";

interface Worst {
  readonly ratio: number;
  readonly what: string;
}

const SCRIPT = `(() => {
  const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [r = 0, g = 0, b = 0] = channels(color).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const text = { ratio: Infinity, what: "" };
  const marks = { ratio: Infinity, what: "" };
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim() !== "",
    );
    const isMark = element.matches("svg rect:not(.hit, .rest), .lamp, .key, svg line:not(.grid)");
    const inSvg = element instanceof SVGElement;
    if ((!own && !isMark) || element.matches("title")) continue;
    const style = getComputedStyle(element);
    const mark = element.matches("line") ? style.stroke : inSvg ? style.fill : undefined;
    const color = mark ?? (isMark ? style.backgroundColor : style.color);
    const from = isMark && !inSvg ? (element.parentElement ?? element) : element;
    const found = ratio(color, behind(from));
    const worst = isMark ? marks : text;
    seen += 1;
    if (found < worst.ratio) {
      worst.ratio = found;
      worst.what = element.outerHTML.slice(0, 120) + " " + color + " on " + behind(from);
    }
  }
  return { text, marks, seen };
})()`;

/** The lowest ratio of all texts and of all marks, and how many pairs were looked at. */
export async function worstContrast(
  page: Page,
): Promise<{ readonly text: Worst; readonly marks: Worst; readonly seen: number }> {
  return await page.evaluate(SCRIPT);
}
