/**
 * Debian's Chromium, headless, for the tests of the page: every request that it makes and every
 * word on its console is kept, so that a test can say that there was no other host and no error.
 */
import type { Browser, Page } from "playwright-core";
import { chromium } from "playwright-core";
import { onTestFinished } from "vitest";

const QUIET = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface Visit {
  readonly page: Page;
  /** Addresses that the page asked for. */
  readonly requests: string[];
  /** Errors and warnings on the console, and exceptions. */
  readonly complaints: string[];
}

export async function launch(): Promise<Browser> {
  return await chromium.launch({ executablePath: "/usr/bin/chromium", args: QUIET });
}

/** Opens `url`; the page is closed when the running test is finished. */
export async function visit(
  browser: Browser,
  url: string,
  options: {
    readonly scheme?: "light" | "dark";
    readonly javaScript?: boolean;
    /** Whether the test may move the clock of the page on, as a computer does that sleeps. */
    readonly movesClock?: boolean;
  } = {},
): Promise<Visit> {
  const context = await browser.newContext({
    colorScheme: options.scheme ?? "light",
    javaScriptEnabled: options.javaScript ?? true,
    viewport: { width: 1180, height: 900 },
  });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  if (options.movesClock === true) await page.clock.install();
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => void requests.push(request.url()));
  page.on("pageerror", (error) => void complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  await page.goto(url, { waitUntil: "load" });
  return { page, requests, complaints };
}
