// What the pages do while the server is slow, away, or refuses.

import assert from "node:assert/strict";

import { button, logOf, logged, openTask, reads, row, stateOf } from "./pages.mjs";
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

// The server is there but has nothing to say to these requests.
const unavailable = (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"detail": "the store is away"}' });

scene("a list that could not be read at first is read as soon as it can be", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 4 });
  const tasks = ({ pathname }) => pathname === "/tasks";
  await page.route(tasks, unavailable);
  await page.goto(server.url);
  await reads(page.getByRole("alert"), "the store is away");
  await page.unroute(tasks);
  await row(page, id).waitFor();
  await page.getByRole("alert").waitFor({ state: "detached" });
});

scene("a task that could not be read at first is followed as soon as it can be", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 4 });
  const task = ({ pathname }) => pathname === `/tasks/${id}`;
  await page.route(task, unavailable);
  await page.goto(`${server.url}/#/tasks/${id}`);
  await reads(page.getByRole("alert"), "the store is away");
  await page.unroute(task);
  await stateOf(page).waitFor();
  await page.getByRole("alert").waitFor({ state: "detached" });
  await server.signal(id, "go", 1);
  await reads(page.locator(".big-progress"), "25 %");
});

scene("a result that could not be read when the task ended is shown later", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 4 });
  await openTask(page, server, id);
  await stateOf(page).waitFor();
  const result = ({ pathname }) => pathname === `/tasks/${id}/result`;
  await page.route(result, unavailable);
  const refused = page.waitForResponse((response) => result(new URL(response.url())));
  await server.signal(id, "go", 4);
  await refused;
  await page.unroute(result);
  await reads(page.getByRole("region", { name: "Result" }), "4 subscribers");
});

scene("steps go on to be shown after one reading of them failed", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 4 });
  await openTask(page, server, id);
  await stateOf(page).waitFor();
  const journal = ({ pathname }) => pathname === `/tasks/${id}/journal`;
  const again = () => page.waitForResponse((response) => journal(new URL(response.url())) && response.ok());
  await again();
  await page.route(journal, unavailable, { times: 1 });
  await page.waitForResponse((response) => journal(new URL(response.url())) && response.status() === 503);
  // Nothing happens to the task, so no event asks for them.
  await again();
});

scene("a session that ended while nothing happened leads to the sign-in", { server: { users: [{ owner: "ada", scope: "tasks:run" }] } }, async ({ server, page }) => {
  await page.goto(server.url);
  await page.getByLabel("Token").fill(server.tokens.ada);
  await button(page, "Sign in").click();
  await page.getByText("No task has been started yet.").waitFor();
  await page.context().clearCookies();
  // The socket is cut, and not opened again.
  await server.kill();
  await server.start();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});

scene("a page whose socket is refused asks instead", {}, async ({ server, page }) => {
  let open = true;
  await page.routeWebSocket(/\/ws/, (socket) => {
    open = false;
    socket.close({ code: 1013, reason: "as many streams as there may be" });
  });
  await page.goto(server.url);
  await page.getByText("No task has been started yet.").waitFor();
  const id = await server.create("import_subscribers", { rows: 4 });
  await row(page, id).waitFor();
  assert.equal(open, false);
});

scene("earlier lines of a log come once, however often they are asked for", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 7000 });
  await server.signal(id, "go", 7000);
  await server.ended(id);
  await openTask(page, server, id);
  await logged(page, "imported subscriber 7000");
  let answer;
  const answered = new Promise((resolve) => { answer = resolve; });
  const logs = ({ pathname }) => pathname === `/tasks/${id}/logs`;
  await page.route(logs, async (route) => {
    await answered;
    await route.continue();
  });
  const earlier = page.getByRole("button", { name: /Show earlier lines/ });
  await earlier.click();
  await earlier.click();
  answer();
  await logOf(page).getByText("imported subscriber 1", { exact: true }).waitFor();
  const lines = (await logOf(page).locator(".text").allTextContents()).filter((line) => line.startsWith("imported"));
  assert.equal(lines.join(", "), Array.from({ length: 7000 }, (_, at) => `imported subscriber ${at + 1}`).join(", "));
});
