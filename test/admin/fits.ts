/**
 * Whether a page fits its screen, as the browser has laid it out: it does not scroll sideways, and
 * every piece of text is whole within the screen, its card and its cell. Runs in the page, hence a
 * text.
 */
import type { Page } from "playwright-core";

/** Widths from a small telephone to a large screen. */
export const SCREEN_WIDTHS = [360, 480, 768, 1024, 1440, 2560] as const;

const SCRIPT = `(() => {
  const found = [];
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push("the page is " + wide + " px wider than the screen");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  let seen = 0;
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (node.textContent.trim() === "") continue;
    if (parent.closest(".skip, title, script, option, noscript, [hidden], .cards thead")) continue;
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()].filter(({ width }) => width > 0);
    if (rects.length === 0) continue;
    seen += 1;
    const words = node.textContent.trim().slice(0, 60);
    for (const { left, right } of rects) {
      if (left < -0.5 || right > innerWidth + 0.5) found.push("off the screen: " + words);
    }
    const box = parent.closest("td, th, section");
    if (box === null) continue;
    const room = box.getBoundingClientRect();
    for (const { left, right } of rects) {
      if (left < room.left - 1 || right > room.right + 1) {
        found.push("out of its " + box.tagName + ": " + words);
      }
    }
  }
  for (const one of document.querySelectorAll("body *")) {
    const style = getComputedStyle(one);
    if (one.closest("svg, .skip, .cards thead, input, select")) continue;
    if (style.overflowX === "visible") continue;
    if (one.scrollWidth > one.clientWidth + 1) found.push("cut: " + one.outerHTML.slice(0, 80));
  }
  return { found: [...new Set(found)], seen };
})()`;

/** What does not fit, in words, and how many texts were looked at. */
export async function misfits(
  page: Page,
): Promise<{ readonly found: readonly string[]; readonly seen: number }> {
  return await page.evaluate(SCRIPT);
}
