// One browser for all tests, and for each a server of its own and a page of a new visitor. A test fails
// also when the page complained about something, and then leaves a picture behind.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, test } from "node:test";

import { PATIENCE, launch, startServer, visit } from "./harness.mjs";

// Launched by the first test that runs: a file of which none is wanted must not wait for a browser.
let launched = null;
after(async () => (await launched)?.close());

// `visitor` is what the visitor's browser is like, `server` what the server is like.
export function scene(name, { visitor = {}, server: options = {} }, play) {
  test(name, { timeout: 4 * PATIENCE }, async () => {
    const browser = await (launched ??= launch());
    const server = await startServer(options);
    const pages = [];
    const open = async (more = {}) => {
      const page = await visit(browser, { ...visitor, ...more });
      pages.push(page);
      return page;
    };
    try {
      await play({ server, page: await open(), open });
      for (const page of pages) assert.deepEqual(page.complaints, []);
    } catch (error) {
      const folder = process.env.OUTLAST_DASHBOARD_FAILURES;
      if (folder) {
        await mkdir(folder, { recursive: true });
        const file = `${folder}/${name.replaceAll(/[^\w]+/g, "-")}.png`;
        await pages[0]?.screenshot({ path: file, fullPage: true }).catch(() => {});
      }
      throw error;
    } finally {
      for (const page of pages) await page.context().close();
      await server.stop();
    }
  });
}
