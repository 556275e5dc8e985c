// What the tests see and do on the dashboard's pages, in the words that people and screen readers get.

import assert from "node:assert/strict";

import { PATIENCE } from "./harness.mjs";

// Waits until the text of something fits, and says what it was instead if it never does.
export async function reads(locator, wanted) {
  const fits = (text) => (wanted instanceof RegExp ? wanted.test(text) : text.includes(wanted));
  let text = "";
  const end = Date.now() + PATIENCE;
  do {
    text = await locator.first().textContent({ timeout: PATIENCE });
    if (fits(text)) return text;
    await locator.page().evaluate(() => new Promise((done) => { requestAnimationFrame(() => setTimeout(done, 20)); }));
  } while (Date.now() < end);
  assert.fail(`${locator} never read ${wanted}; it reads ${JSON.stringify(text).slice(0, 2000)}`);
}

export const button = (page, name) => page.getByRole("button", { name, exact: true });

export async function openTask(page, server, id) {
  await page.goto(`${server.url}/#/tasks/${id}`);
  await page.getByText(id).first().waitFor();
}

export const stateOf = (page) => page.locator(".now .status");

export const logOf = (page) => page.getByRole("log");

// Waits until a line of the log reads so, from its beginning to its end. The text of the whole log would not do: in it a
// line goes on with the time of the next one, and so at eight in the morning line 20 reads "subscriber 2008:07:10".
export const logged = (page, line) => logOf(page).getByText(line, { exact: true }).first().waitFor({ timeout: PATIENCE });

// Waits until the page no longer says that the server is away. That it is back stands there for some seconds only.
export const connected = (page) => page.locator("#connection.lost").waitFor({ state: "detached" });

// The row of a task in the list.
export const row = (page, id) => page.locator(`tr[data-key="${id}"]`);

// How much of the page does not fit the window, sideways.
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
