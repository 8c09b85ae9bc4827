import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";

/** The system's Chromium, or the one that CHROMIUM_PATH names. */
const CHROMIUM = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";

/** Whether there is a Chromium; where there is none, says once that `what` is not tested. */
export function hasChromium(what: string): boolean {
  const isThere = existsSync(CHROMIUM);
  if (!isThere)
    console.warn(`${what} is not tested: there is no ${CHROMIUM} (CHROMIUM_PATH names another one).`);
  return isThere;
}

/** `flags`: of the command line. */
export function launch(flags: readonly string[] = []): Promise<Browser> {
  // The sandbox needs another user than root; the page is our own.
  const args = [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), ...flags];
  return chromium.launch({ executablePath: CHROMIUM, args });
}

/** A page, and what it did that nobody sees. */
export interface WatchedPage {
  readonly page: Page;
  /** What the console said. */
  readonly said: readonly string[];
  /** Who was asked. */
  readonly hosts: ReadonlySet<string>;
}

export async function watchedPage(browser: Browser): Promise<WatchedPage> {
  const page = await browser.newPage();
  const [said, hosts]: [string[], Set<string>] = [[], new Set()];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(error.message));
  page.on("request", (request) => hosts.add(new URL(request.url()).origin));
  return { page, said, hosts };
}
