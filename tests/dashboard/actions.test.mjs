import assert from "node:assert/strict";

import { button, connected, openTask, reads, row, stateOf } from "./pages.mjs";
import { scene } from "./suite.mjs";

scene("a question is answered with a form made from its schema", {}, async ({ server, page }) => {
  const id = await server.create("deploy", { version: "2.4.0" });
  await openTask(page, server, id);
  const question = page.getByRole("region", { name: "Roll 2.4.0 out to production?" });
  await question.waitFor();
  assert.equal(await question.getByLabel("Machines").inputValue(), "12");
  assert.equal(await question.getByLabel("Back up first").isChecked(), true);
  await question.getByLabel("Strategy").selectOption("One after the other");
  // What the schema does not allow is not sent.
  await question.getByLabel("Machines").fill("99");
  await question.getByRole("button", { name: "Answer" }).click();
  assert.equal(await question.getByLabel("Machines").evaluate((field) => field.matches(":invalid")), true);
  await question.getByLabel("Machines").fill("3");
  await question.getByLabel("editors").check();
  await question.getByLabel("everybody").check();
  await question.getByLabel("Note").fill("with care");
  await question.getByRole("button", { name: "Answer" }).click();
  await reads(stateOf(page), "completed");
  const { result } = await server.get(`/tasks/${id}/result`);
  const answer = JSON.parse(result.content[0].text.replace("rolled out: ", ""));
  assert.deepEqual(answer, { strategy: "rolling", machines: 3, notify: ["editors", "everybody"], backup: true, note: "with care" });
  assert.equal(await question.count(), 0);
});

scene("a question is declined", {}, async ({ server, page }) => {
  const id = await server.create("deploy", { version: "2.4.0" });
  await openTask(page, server, id);
  await button(page, "Decline").click();
  await reads(page.getByRole("region", { name: "Result" }), "kept back");
});

scene("a form is left alone while somebody fills it in", {}, async ({ server, page, open }) => {
  const id = await server.create("deploy", { version: "2.4.0" });
  await openTask(page, server, id);
  await page.getByLabel("Note").fill("half a");
  await server.signal(id, "anything", {});
  await reads(page.getByRole("region", { name: "What happened" }), "Signal anything");
  await page.keyboard.type(" sentence");
  assert.equal(await page.getByLabel("Note").inputValue(), "half a sentence");
  // Somebody else is faster.
  const other = await open();
  await openTask(other, server, id);
  await button(other, "Decline").click();
  await reads(stateOf(page), "completed");
  await page.getByLabel("Note").waitFor({ state: "detached" });
});

scene("a task is cancelled with a reason, and run again", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 7 }, { labels: { list: "weekly" } });
  await openTask(page, server, id);
  await button(page, "Cancel task…").click();
  const dialog = page.getByRole("dialog", { name: "Cancel this task?" });
  await dialog.getByLabel("Reason").fill("the list is out of date");
  await dialog.getByRole("button", { name: "Cancel the task" }).click();
  await reads(stateOf(page), "cancelled");
  await reads(page.getByRole("region", { name: "Cancelled" }), "the list is out of date");

  await button(page, "Retry").click();
  await page.waitForFunction((old) => location.hash.startsWith("#/tasks/") && !location.hash.includes(old), id);
  await reads(stateOf(page), /working|waiting/);
  const again = new URL(page.url()).hash.split("/").pop();
  const task = await server.get(`/tasks/${again}`);
  assert.deepEqual(task.arguments, { rows: 7 });
  await server.signal(again, "go", 7);
  await reads(stateOf(page), "completed");
});

scene("a signal goes into the run", {}, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 5 });
  await openTask(page, server, id);
  await button(page, "Send signal…").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("go");
  await dialog.getByLabel("Message").fill("five");
  await dialog.getByRole("button", { name: "Send" }).click();
  await dialog.getByText("The message is not JSON").waitFor();
  await dialog.getByLabel("Message").fill("5");
  await dialog.getByRole("button", { name: "Send" }).click();
  await reads(stateOf(page), "completed");
});

scene("a finished task is deleted", {}, async ({ server, page }) => {
  const id = await server.create("sync_archive");
  await server.ended(id);
  await openTask(page, server, id);
  await button(page, "Delete…").click();
  await button(page, "Delete the task").click();
  await page.getByText("No task has been started yet.").waitFor();
  await assert.rejects(server.get(`/tasks/${id}`), /404/);
});

scene("a tool is started with a form made from its schema", {}, async ({ server, page }) => {
  await page.goto(`${server.url}/#/tools`);
  await page.getByRole("link", { name: /mail_digest/ }).click();
  await page.getByLabel("recipients (JSON)").fill("not JSON");
  await button(page, "Start").click();
  await page.getByText(/recipients: This is not JSON/).waitFor();
  await page.getByLabel("recipients (JSON)").fill('["a@example.org", "b@example.org"]');
  await page.getByText("Labels, delay, priority, idempotency key").click();
  await page.getByLabel("Labels").fill("issue=47 urgent=yes");
  await button(page, "Start").click();
  await reads(stateOf(page), "completed");
  const { tasks } = await server.get("/tasks");
  assert.deepEqual(tasks[0].labels, { issue: "47", urgent: "yes" });
  await page.getByRole("region", { name: "Result" }).getByText("sent to 2 readers").waitFor();

  // The same again, with changes.
  await page.getByRole("link", { name: "Run with changes…" }).click();
  const field = page.getByLabel("recipients (JSON)");
  await page.waitForFunction(() => document.querySelector("textarea")?.value.includes("b@example.org"));
  await field.fill("[]");
  await button(page, "Start").click();
  await page.getByText("sent to 0 readers").waitFor();
});

scene("a tool that never runs as a task answers on the spot", {}, async ({ server, page }) => {
  await page.goto(`${server.url}/#/tools/word_count`);
  await page.getByLabel("text").fill("four words are here");
  await button(page, "Run").click();
  await reads(page.getByRole("region", { name: "Result" }), "4");
  assert.equal((await server.get("/tasks")).tasks.length, 0);
});

scene("a queue is paused and resumed", {}, async ({ server, page }) => {
  await page.goto(`${server.url}/#/activity`);
  await button(page, "Pause sync_archive").click();
  await button(page, "Resume sync_archive").waitFor();
  const id = await server.create("sync_archive");
  const queued = page.getByRole("row", { name: /sync_archive/ }).getByRole("cell").nth(1);
  await reads(queued, /^1$/);
  await button(page, "Resume sync_archive").click();
  await button(page, "Pause sync_archive").waitFor();
  await server.ended(id);
  await page.getByText("As a table").first().click();
  await reads(page.getByRole("region", { name: "Ended tasks a minute as a table" }), /1/);
});

scene("pages without a socket notice that the server is away, and come back", {}, async ({ server, page, open }) => {
  const [form, gone] = [await open(), await open()];
  await page.goto(`${server.url}/#/activity`);
  await page.getByRole("region", { name: "Workers" }).waitFor();
  await form.goto(`${server.url}/#/tools/word_count`);
  await form.getByLabel("text").fill("two words");
  await gone.goto(`${server.url}/#/activity`);
  await gone.getByRole("region", { name: "Workers" }).waitFor();

  await server.kill();
  await page.getByText("The server cannot be reached.").waitFor();
  await page.getByRole("region", { name: "Workers" }).waitFor();
  await button(form, "Run").click();
  await form.getByText("trying again…").waitFor();
  await gone.evaluate(() => { location.hash = "#/tools"; });
  await reads(gone.getByRole("alert"), "cannot be reached");

  await server.start();
  for (const each of [page, form, gone]) await connected(each);
  await gone.getByRole("link", { name: /word_count/ }).waitFor();
  assert.equal(await form.getByLabel("text").inputValue(), "two words", "what was typed is kept");
  await button(form, "Run").click();
  await reads(form.getByRole("region", { name: "Result" }), "2");
});

scene("after a restart of the server a page goes on where it was", {}, async ({ server, page, open }) => {
  const id = await server.create("import_subscribers", { rows: 20 });
  const list = await open();
  await list.goto(`${server.url}/#/?tool=import_subscribers`);
  await row(list, id).waitFor();
  await openTask(page, server, id);
  await server.signal(id, "go", 5);
  await reads(page.locator(".big-progress"), "25 %");
  await page.getByRole("searchbox", { name: "Find in the log" }).fill("subscriber 3");

  await server.kill();
  for (const each of [page, list]) await each.getByText("The server cannot be reached.").waitFor();
  assert.match(await stateOf(page).textContent(), /working|waiting/, "what was there is still shown");

  await server.start();
  for (const each of [page, list]) await connected(each);
  await server.signal(id, "go", 10);
  await reads(page.locator(".big-progress"), "50 %");
  await reads(row(list, id), "50 %");
  assert.equal(await page.getByRole("searchbox", { name: "Find in the log" }).inputValue(), "subscriber 3");
  // Nothing twice, nothing missing.
  await reads(page.getByRole("log"), "imported subscriber 10");
  const lines = await page.getByRole("log").locator(".text").allTextContents();
  const imported = lines.filter((line) => line.startsWith("imported"));
  assert.deepEqual(imported, Array.from({ length: 10 }, (_, at) => `imported subscriber ${at + 1}`));
  assert.match(list.url(), /tool=import_subscribers/);
});

scene("a message that did not arrive is sent again by hand", {}, async ({ server, page }) => {
  const id = await server.create("sync_archive");
  await server.ended(id);
  const at = new Date().toISOString();
  const told = (state) => ({
    webhooks: [{ name: "ops", events: ["failed"] }],
    deliveries: [{ id: "msg_1", webhook: 0, event: "failed", state, attempts: 8, at, latest: [{ at, status: 500 }] }],
  });
  let state = "failed";
  await page.route(({ pathname }) => pathname === `/tasks/${id}/webhooks`, (route) => route.fulfill({ json: told(state) }));
  const resend = ({ pathname }) => pathname === `/tasks/${id}/webhooks/msg_1/resend`;
  await page.route(resend, (route) => {
    state = "delivered";
    return route.fulfill({ status: 202, json: told("pending") });
  });
  await openTask(page, server, id);
  const hooks = page.getByRole("region", { name: "Webhooks" });
  await reads(hooks, "it answered 500");
  const asked = page.waitForRequest((request) => resend(new URL(request.url())));
  await button(page, "Send failed again").click();
  assert.equal((await asked).method(), "POST");
  await page.getByText("It is being sent again.").waitFor();
  await reads(hooks, "delivered");
});
