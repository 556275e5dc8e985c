import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { button, logOf, logged, openTask, overflow, reads, row, stateOf } from "./pages.mjs";
import { scene } from "./suite.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// A server with a task of every kind, and the pages that show them, each with what tells that it is there.
async function everything(server) {
  const report = await server.create("release_report", { version: "2.4.0" }, { labels: { team: "web" } });
  await server.ended(report);
  const failed = await server.create("sync_archive");
  await server.ended(failed);
  const running = await server.create("import_subscribers", { rows: 30 });
  await server.signal(running, "go", 12);
  const asking = await server.create("deploy", { version: "2.4.0" });
  return [
    ["/", (page) => row(page, asking).waitFor()],
    ["/?state=cancelled", (page) => page.getByText("No task fits these filters.").waitFor()],
    [`/tasks/${report}`, (page) => page.getByRole("link", { name: "report.md" }).waitFor()],
    [`/tasks/${failed}`, (page) => page.getByRole("region", { name: "Result: an error" }).waitFor()],
    [`/tasks/${running}`, (page) => logged(page, "imported subscriber 12")],
    [`/tasks/${asking}`, (page) => page.getByLabel("Machines").waitFor()],
    ["/tasks/00000000-0000-4000-8000-000000000000", (page) => page.getByRole("alert").waitFor()],
    ["/tools", (page) => page.getByRole("link", { name: /word_count/ }).waitFor()],
    ["/tools/release_report", (page) => button(page, "Start").waitFor()],
    ["/activity", (page) => page.getByRole("region", { name: "Workers" }).waitFor()],
  ];
}

for (const theme of ["light", "dark"]) {
  scene(`no page has a serious finding of axe, ${theme}`, { visitor: { theme } }, async ({ server, page }) => {
    for (const [where, there] of await everything(server)) {
      await page.goto(`${server.url}/#${where}`);
      await there(page);
      await inspect(page, where);
    }
    await openTask(page, server, (await server.get("/tasks?tool=deploy")).tasks[0].taskId);
    await button(page, "Cancel task…").click();
    await page.getByRole("dialog").waitFor();
    await inspect(page, "a dialog");
  });
}

async function inspect(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  const found = violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, help, nodes }) => `${where}: ${id}: ${help}: ${nodes.map((node) => node.html).join(" | ").slice(0, 400)}`);
  assert.deepEqual(found, []);
}

scene("every page fits a phone", { visitor: { phone: true } }, async ({ server, page }) => {
  for (const [where, there] of await everything(server)) {
    await page.goto(`${server.url}/#${where}`);
    await there(page);
    assert.equal(await overflow(page), 0, `${where} is wider than the window`);
  }
  // And it works there.
  await page.goto(`${server.url}/#/?tool=deploy`);
  await page.getByRole("link", { name: "deploy" }).first().tap();
  await button(page, "Answer").tap();
  await reads(stateOf(page), "completed");
});

scene("the keyboard is enough", {}, async ({ server, page }) => {
  const first = await server.create("import_subscribers", { rows: 3 });
  const second = await server.create("import_subscribers", { rows: 4 });
  await page.goto(server.url);
  await row(page, second).waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.textContent ?? "");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to content");

  // To the search and back out of it, then to the tasks.
  await page.keyboard.press("Control+K");
  assert.equal(await page.evaluate(() => document.activeElement.id), "text");
  const onTask = (id) => page.evaluate((wanted) => document.activeElement?.closest("tr")?.dataset.key === wanted, id);
  for (let presses = 0; !(await onTask(second)); presses += 1) {
    assert.ok(presses < 20, "Tab does not lead to the tasks");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("ArrowDown");
  assert.equal(await onTask(first), true);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "import_subscribers" }).waitFor();
  await page.getByText(first).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "content");

  for (let presses = 0; await focused() !== "Cancel task…"; presses += 1) {
    assert.ok(presses < 20, "Tab does not lead to the actions");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(), "Cancel task…", "the focus is where it was");
  await page.keyboard.press("Enter");
  await page.keyboard.type("typed");
  await page.keyboard.press("Enter");
  await reads(stateOf(page), "cancelled");
  await reads(page.getByRole("region", { name: "Cancelled" }), "typed");
});

scene("the theme is chosen and remembered", {}, async ({ server, page }) => {
  await page.goto(server.url);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await button(page, "Theme: as the system").click();
  await button(page, "Theme: light").click();
  await button(page, "Theme: dark").waitFor();
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  await button(page, "Theme: dark").waitFor();
  assert.equal(await ground(), dark);
});

scene("nothing that a task says is believed", {}, async ({ server, page }) => {
  const id = await server.create("hostile", { text: "</script><img src=x onerror=\"document.title='owned'\">" }, {
    labels: { "<img src=x onerror=alert(1)>": "<script>alert(1)</script>" },
  });
  await server.ended(id);
  page.on("dialog", () => assert.fail("something of the task ran"));
  const pages = [
    [`/tasks/${id}`, () => reads(logOf(page), "<img src=x")],
    ["/", () => reads(row(page, id), "<img src=x")],
    ["/tools", () => reads(page.getByRole("link", { name: /hostile/ }), "<img src=x")],
    [`/tools/hostile?from=${id}`, () => page.getByLabel("text").waitFor()],
    ["/?text=%3Cimg%20src%3Dx", () => row(page, id).waitFor()],
    ["/activity", () => page.getByRole("region", { name: "Workers" }).waitFor()],
  ];
  for (const [where, there] of pages) {
    await page.goto(`${server.url}/#${where}`);
    await there();
    assert.doesNotMatch(await page.title(), /owned/);
    assert.equal(await page.locator("main script, main img[onerror], main iframe").count(), 0, where);
  }
  // Even a script of the page itself could not make markup of a text.
  await openTask(page, server, id);
  const refused = await page.evaluate(() => {
    try {
      document.body.innerHTML = "<img src=x>";
      return "done";
    } catch (error) {
      return error.name;
    }
  });
  assert.equal(refused, "TypeError");
  page.complaints.length = 0;
  // What it made is a download, whatever it says that it is.
  const file = await fetch(`${server.url}/tasks/${id}/artifacts/page.html`);
  assert.match(file.headers.get("content-disposition"), /^attachment/);
  assert.equal(file.headers.get("x-content-type-options"), "nosniff");
});

const users = [{ owner: "ada", scope: "tasks:admin" }, { owner: "ben", scope: "tasks:read" }, { owner: "eve", scope: "tasks:run" }];

scene("a server with users lets in who has a token, and out again", { server: { users } }, async ({ server, page }) => {
  const id = await server.create("import_subscribers", { rows: 10 });
  await page.goto(`${server.url}/#/tasks/${id}`);
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await inspect(page, "signing in");
  await page.getByLabel("Token").fill("olt_00000000_wrong");
  await button(page, "Sign in").click();
  await reads(page.getByRole("alert"), "token");
  await page.getByLabel("Token").fill(server.tokens.ada);
  await page.keyboard.press("Enter");
  // To where the address leads, with everything alive.
  await server.signal(id, "go", 5);
  await reads(page.locator(".big-progress"), "50 %");
  assert.doesNotMatch(page.url(), /olt_/);
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Strict"]);
  assert.equal(await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })), "{}");
  await button(page, "Cancel task…").click();
  await button(page, "Cancel the task").click();
  await reads(stateOf(page), "cancelled");
  await button(page, "Sign out").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
});

scene("long names and a user who is signed in fit every window", { visitor: { phone: true }, server: { users } }, async ({ server, page }) => {
  const name = "convert_the_quarterly_reports_of_every_subsidiary_into_one_archi";
  const long = `https://reports.example/${"archive/".repeat(20)}`;
  const tool = {
    name, description: `Reads ${long}\n\nAnd ${"x".repeat(200)}.`, taskSupport: "optional",
    inputSchema: { type: "object", properties: { [`from_${"y".repeat(64)}`]: { type: "string", description: long } } },
  };
  await page.route(({ pathname }) => pathname === "/tools", (route) => route.fulfill({ json: { tools: [tool] } }));
  const id = await server.create("import_subscribers", { rows: 10 }, { labels: { [`team-${"z".repeat(59)}`]: "q".repeat(100) } });
  await page.goto(server.url);
  await page.getByLabel("Token").fill(server.tokens.ada);
  await button(page, "Sign in").click();
  await row(page, id).waitFor();
  const places = [
    ["/", () => page.getByLabel("Tool").getByText(name).waitFor({ state: "attached" })],
    [`/tasks/${id}`, () => stateOf(page).waitFor()],
    ["/tools", () => page.getByRole("link", { name: new RegExp(name) }).waitFor()],
    [`/tools/${name}`, () => button(page, "Start").waitFor()],
    ["/activity", () => page.getByRole("region", { name: "Workers" }).waitFor()],
  ];
  for (const [where, there] of places) {
    await page.goto(`${server.url}/#${where}`);
    await there();
    await button(page, "Sign out").waitFor();
    for (const width of [320, 360, 390, 768, 1280]) {
      await page.setViewportSize({ width, height: 844 });
      assert.equal(await overflow(page), 0, `${where} is wider than a window of ${width}`);
      const out = await button(page, "Sign out").boundingBox();
      assert.ok(out.x >= 0 && out.x + out.width <= width, `${where}: whoever is signed in cannot sign out at ${width}`);
    }
    await inspect(page, where);
  }
});

scene("an address that was cut off says that there is nothing", {}, async ({ server, page }) => {
  await page.goto(`${server.url}/#/tasks/%`);
  await reads(page.getByRole("alert"), "not found");
  page.complaints.length = 0;
});

scene("who may only read is told so", { server: { users } }, async ({ server, page }) => {
  await page.goto(`${server.url}/#/tools/sync_archive`);
  await page.getByLabel("Token").fill(server.tokens.ben);
  await button(page, "Sign in").click();
  await button(page, "Start").click();
  await reads(page.getByRole("alert"), "tasks:run");
});

scene("an administrator counts and follows everybody's tasks", { server: { users } }, async ({ server, page }) => {
  await page.goto(`${server.url}/#/?owner=*`);
  await page.getByLabel("Token").fill(server.tokens.ada);
  await button(page, "Sign in").click();
  await page.getByText("No task fits these filters.").waitFor();
  const as = { Authorization: `Bearer ${server.tokens.eve}` };
  const { taskId } = await server.post("/tasks", { tool: "import_subscribers", arguments: { rows: 4 } }, as);
  await row(page, taskId).waitFor();
  await reads(page.getByRole("link", { name: /all$/ }), /^1/);
  await server.post(`/tasks/${taskId}/signals/go`, 2, as);
  await reads(row(page, taskId), "50 %");
});
