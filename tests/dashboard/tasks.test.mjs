import assert from "node:assert/strict";

import { button, logOf, logged, openTask, reads, row, stateOf } from "./pages.mjs";
import { scene } from "./suite.mjs";

scene("the list shows what there is, filters it, and keeps that in the address", {}, async ({ server, page }) => {
  const failed = await server.create("sync_archive", {}, { labels: { site: "north" } });
  const waiting = await server.create("import_subscribers", { rows: 10 });
  await server.ended(failed);
  await page.goto(server.url);
  await row(page, failed).waitFor();
  await row(page, waiting).waitFor();
  await reads(row(page, failed), "failed");
  // A tool's own error is a failure, for whoever counts and whoever looks for it.
  await reads(page.getByRole("link", { name: /failed$/ }), /^1/);
  await reads(page.getByRole("link", { name: /completed$/ }), /^0/);

  await page.getByRole("link", { name: /failed$/ }).click();
  await row(page, waiting).waitFor({ state: "detached" });
  await row(page, failed).waitFor();
  assert.match(page.url(), /state=failed/);

  await page.reload();
  await row(page, failed).waitFor();
  assert.equal(await row(page, waiting).count(), 0);

  await page.getByRole("link", { name: "Clear" }).click();
  await row(page, waiting).waitFor();
  await page.getByLabel("Search").fill("NORTH");
  await page.keyboard.press("Enter");
  await row(page, waiting).waitFor({ state: "detached" });
  await row(page, failed).waitFor();

  await page.goBack();
  await row(page, waiting).waitFor();
  await page.getByLabel("Search").fill("nothing has this text");
  await button(page, "Search").click();
  await page.getByText("No task fits these filters.").waitFor();

  await page.goto(`${server.url}/#/`);
  await row(page, waiting).waitFor();
  await page.getByText("More filters").click();
  const listed = page.waitForResponse((response) => /\/tasks\?.*created_after=/.test(response.url()));
  await page.getByLabel("Created in").selectOption("the last hour");
  assert.equal((await listed).status(), 200);
  await row(page, waiting).waitFor();
  // Nobody knows how many of them are in which state.
  await page.getByRole("link", { name: "failed", exact: true }).waitFor();
  await page.getByLabel("Label").fill("site=north");
  await page.keyboard.press("Enter");
  await row(page, waiting).waitFor({ state: "detached" });
  await row(page, failed).waitFor();

  await page.goto(`${server.url}/#/?state=bogus`);
  await reads(page.getByRole("alert"), "There is no state");
  await page.goto(`${server.url}/#/nowhere`);
  await page.getByRole("heading", { name: "There is no such page" }).waitFor();
});

scene("an empty server says what to do", {}, async ({ server, page }) => {
  await page.goto(server.url);
  await page.getByText("No task has been started yet.").waitFor();
  await page.getByRole("link", { name: "Start a tool" }).click();
  await page.getByRole("link", { name: /release_report/ }).waitFor();
});

scene("the list is alive, and pages lead through all of it", {}, async ({ server, page }) => {
  await page.goto(server.url);
  await page.getByText("No task has been started yet.").waitFor();
  const first = await server.create("import_subscribers", { rows: 4 });
  await row(page, first).waitFor();
  await server.signal(first, "go", 1);
  await reads(row(page, first), "25 %");
  await server.signal(first, "go", 4);
  await reads(row(page, first), "completed");

  const many = [];
  for (let each = 0; each < 60; each += 1) many.push(await server.create("import_subscribers", { rows: 2 }));
  await row(page, many.at(-1)).waitFor();
  await page.getByRole("link", { name: "Older" }).click();
  await row(page, first).waitFor();
  await row(page, many[0]).waitFor();
  // What changes on a later page is shown there, too.
  await server.signal(many[0], "go", 1);
  await reads(row(page, many[0]), "50 %");
  await page.getByRole("link", { name: "Newest" }).click();
  await row(page, many.at(-1)).waitFor();
});

scene("progress, log and result come while somebody watches", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 40 });
  await openTask(page, server, id);
  await server.signal(id, "go", 10);
  await reads(page.locator(".big-progress"), "25 %");
  await logged(page, "imported subscriber 10");
  assert.equal(await page.getByRole("progressbar", { name: "Progress of import_subscribers" }).getAttribute("value"), "25");
  await server.signal(id, "go", 40);
  await reads(stateOf(page), "completed");
  await page.getByRole("region", { name: "Result" }).getByText("40 subscribers").first().waitFor();
  await logged(page, "imported subscriber 40");
  await reads(page.getByRole("region", { name: "What happened" }), /Created.*Started.*Signal go.*Completed/);
});

scene("everything that a task leaves is there", {}, async ({ server, page }) => {
  const id = await server.create("release_report", { version: "2.4.0" }, { labels: { team: "web" } });
  await server.ended(id);
  await openTask(page, server, id);
  const timeline = page.getByRole("region", { name: "Timeline" });
  await reads(timeline, /Attempt 1.*write commits.*write summary/);
  const result = page.getByRole("region", { name: "Result", exact: true });
  // Every digit, also where a browser's numbers end.
  await reads(result, "9007199254740993");
  await reads(result, /"ratio": 1\.0/);
  await reads(page.getByRole("region", { name: "Partial results" }), "Benchmarks");
  await reads(page.getByRole("region", { name: "Arguments" }), '"2.4.0"');
  await reads(page.getByRole("region", { name: "Children" }), /measure.*measure.*measure/);
  const arrives = page.waitForEvent("download");
  await page.getByRole("link", { name: "report.md" }).click();
  assert.equal((await arrives).suggestedFilename(), "report.md");
});

scene("a long log is searched, held and downloaded", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 300 });
  await openTask(page, server, id);
  await server.signal(id, "go", 200);
  await logged(page, "imported subscriber 200");
  const end = () => logOf(page).evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  assert.ok(await end() < 2, "the log follows its end");

  await page.getByRole("searchbox", { name: "Find in the log" }).fill("subscriber 17");
  await reads(page.locator(".find"), "11 of 11");
  await page.keyboard.press("Enter");
  await reads(page.locator(".find"), "10 of 11");
  // Somebody reads: what comes now does not move the log.
  const top = await logOf(page).evaluate((log) => log.scrollTop);
  await server.signal(id, "go", 300);
  await page.getByRole("button", { name: /new line/ }).waitFor();
  assert.equal(await logOf(page).evaluate((log) => log.scrollTop), top);
  await page.getByRole("searchbox", { name: "Find in the log" }).fill("");
  await page.getByRole("button", { name: /Follow/ }).click();
  await logged(page, "imported subscriber 300");
  assert.ok(await end() < 2, "the log follows again");

  const arrives = page.waitForEvent("download");
  await button(page, "Download").click();
  const stream = await (await arrives).createReadStream();
  let text = "";
  for await (const piece of stream) text += piece;
  assert.match(text, /imported subscriber 1\b/);
  assert.match(text, /imported subscriber 300\b/);
});

scene("an attempt that failed stands in the timeline", {}, async ({ server, page }) => {
  const id = await server.create("mail_digest", { recipients: ["a@example.org"] });
  await server.ended(id);
  await openTask(page, server, id);
  await reads(page.getByRole("region", { name: "Timeline" }), /Attempt 1.*failed: .*421 try again later.*Attempt 2/);
});
