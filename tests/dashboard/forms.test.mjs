// Forms of schemas that the tools of the tests' server do not have: the page is told of such tools, and
// what it sends is looked at.

import assert from "node:assert/strict";

import { button } from "./pages.mjs";
import { scene } from "./suite.mjs";

const ID = "00000000-0000-4000-8000-000000000001";

// A page with the form of a tool that takes arguments of `schema`, filled with those of an earlier task.
async function formOf(page, server, { schema, given, support = "optional" }) {
  const tool = { name: "made_up", taskSupport: support, inputSchema: { type: "object", ...schema } };
  const serve = (where, answer) => page.route(({ pathname }) => pathname === where, (route) => route.fulfill(answer));
  await serve("/tools", { json: { tools: [tool] } });
  await serve(`/tasks/${ID}`, { json: { taskId: ID, tool: tool.name, arguments: given ?? {} } });
  await serve("/tasks", { status: 400, json: { detail: "only looked at" } });
  await page.goto(`${server.url}/#/tools/made_up${given ? `?from=${ID}` : ""}`);
  await button(page, support === "forbidden" ? "Run" : "Start").waitFor();
}

const start = (page) => button(page, "Start").click();

// What the tool is called with.
async function sent(page) {
  const call = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/tasks"));
  await start(page);
  return (await call).postDataJSON().arguments;
}

scene("what a schema does not name is kept when a tool runs again", {}, async ({ server, page }) => {
  const schema = { properties: { query: { type: "string" } }, required: ["query"] };
  await formOf(page, server, { schema, given: { query: "x", limit: 5 } });
  await page.getByLabel("query").fill("y");
  assert.deepEqual(await sent(page), { query: "y", limit: 5 });
});

scene("a secret is to be given again, and its dots are never sent", {}, async ({ server, page }) => {
  const schema = { properties: { user: { type: "string" }, password: { type: "string", writeOnly: true } }, required: ["user", "password"] };
  await formOf(page, server, { schema, given: { user: "ada", password: "•••" } });
  const password = page.getByLabel("password");
  assert.equal(await password.inputValue(), "");
  await start(page);
  assert.equal(await password.evaluate((field) => field.matches(":invalid")), true);
  await password.fill("correct horse");
  assert.deepEqual(await sent(page), { user: "ada", password: "correct horse" });
});

scene("a choice of yes and no may be left open", {}, async ({ server, page }) => {
  const schema = { properties: { force: { type: "boolean" }, verbose: { type: "boolean" }, quiet: { type: "boolean" } }, required: ["quiet"] };
  await formOf(page, server, { schema });
  await page.getByLabel("verbose").selectOption("no");
  assert.deepEqual(await sent(page), { verbose: false, quiet: false });
});

scene("a pattern need not fit all of a text", {}, async ({ server, page }) => {
  const schema = { properties: { ticket: { type: "string", pattern: "^[A-Z]{3}-|^#" } }, required: ["ticket"] };
  await formOf(page, server, { schema });
  await page.getByLabel("ticket").fill("abc-123");
  await start(page);
  assert.equal(await page.getByLabel("ticket").evaluate((field) => field.matches(":invalid")), true);
  await page.getByLabel("ticket").fill("ABC-123");
  assert.deepEqual(await sent(page), { ticket: "ABC-123" });
});

scene("a tool that answers on the spot keeps every digit", {}, async ({ server, page }) => {
  const answer = '{"content": [{"type": "text", "text": "{\\"build\\": 9007199254740993}"}], "structuredContent": {"build": 9007199254740993}}';
  await formOf(page, server, { schema: { additionalProperties: false }, support: "forbidden" });
  await page.route(({ pathname }) => pathname === "/tools/made_up", (route) => route.fulfill({ contentType: "application/json", body: answer }));
  await button(page, "Run").click();
  await page.getByRole("region", { name: "Result" }).getByText("9007199254740993").waitFor();
});
