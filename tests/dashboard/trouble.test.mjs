// What the pages do while the server is slow, away, or refuses.

import { reads, row } from "./pages.mjs";
import { scene } from "./suite.mjs";

scene("a list that took long to read goes on taking in what is new", {}, async ({ server, page }) => {
  const [one, two] = [await server.create("import_subscribers", { rows: 4 }), await server.create("import_subscribers", { rows: 4 })];
  await page.goto(server.url);
  await row(page, one).waitFor();
  await row(page, two).waitFor();

  // The next reading takes as long as it takes; meanwhile something else changes.
  let answer;
  const answered = new Promise((resolve) => { answer = resolve; });
  await page.route("**/stats", async (route) => {
    await answered;
    await route.continue();
  });
  const asked = page.waitForRequest("**/stats");
  await server.signal(one, "go", 1);
  await asked;
  await server.signal(two, "go", 1);
  await reads(row(page, two), "25 %");
  // Longer than the list waits before it reads again: its timer, which was set before this one, is over.
  await page.evaluate(() => new Promise((over) => { setTimeout(over, 1500); }));
  answer();

  const three = await server.create("import_subscribers", { rows: 4 });
  await row(page, three).waitFor();
});
