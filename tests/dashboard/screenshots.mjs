// Takes the pictures of the dashboard for the documentation: `node screenshots.mjs FOLDER`.
//
// What they show is made up but run: the tasks are started, asked, stopped and followed like any others.

import { mkdir, stat } from "node:fs/promises";
import path from "node:path";

import { launch, startServer, visit } from "./harness.mjs";
import { logged, reads, row } from "./pages.mjs";

// A page of documentation loads several of them.
const LARGEST = 150 * 1024;

const folder = process.argv[2];
if (!folder) throw new Error("usage: screenshots.mjs FOLDER");
await mkdir(folder, { recursive: true });
const server = await startServer();
const withUsers = await startServer({ users: [{ owner: "ada", scope: "tasks:admin" }] });
const browser = await launch();
try {
  const tasks = await scene();
  await picture("tasks", "/", (page) => row(page, tasks.asking).waitFor(), { height: 700, onPhone: true });
  await picture("task", `/tasks/${tasks.report}`, async (page) => {
    await page.getByRole("link", { name: "report.md" }).waitFor();
    await logged(page, "the report is complete");
    await reads(page.getByRole("region", { name: "Timeline" }), "write summary");
  }, { height: 1000, onPhone: true });
  await picture("question", `/tasks/${tasks.asking}`, (page) => page.getByLabel("Machines").waitFor(), { height: 700 });
  await picture("progress", `/tasks/${tasks.running}`, (page) => logged(page, "imported subscriber 26"), { height: 700 });
  await picture("start", "/tools/release_report", (page) => page.getByRole("button", { name: "Start" }).waitFor(), { height: 700 });
  await picture("tools", "/tools", (page) => page.getByRole("link", { name: /word_count/ }).waitFor(), { height: 700 });
  await picture("activity", "/activity", (page) => page.getByRole("region", { name: "Workers" }).waitFor(), { height: 1000 });
  await picture("sign-in", "/", (page) => page.getByLabel("Token").waitFor(), { height: 500, of: withUsers });
} finally {
  await browser.close();
  await server.stop();
  await withUsers.stop();
}

async function scene() {
  const labels = { team: "web" };
  const done = [];
  for (const version of ["2.3.0", "2.3.1"]) done.push(await server.create("release_report", { version, section_ms: 40 }, { labels }));
  done.push(await server.create("sync_archive", {}, { labels: { site: "north" } }));
  done.push(await server.create("mail_digest", { recipients: ["editors@example.org", "desk@example.org"] }));
  for (const id of done) await server.ended(id);
  const report = await server.create("release_report", { version: "2.4.0", section_ms: 600 }, { labels: { ...labels, release: "2.4.0" } });
  await server.ended(report);
  const stopped = await server.create("import_subscribers", { rows: 9_000 });
  await server.post(`/tasks/${stopped}/cancel`, { reason: "the list is out of date" });
  await server.ended(stopped);
  await server.create("mail_digest", { recipients: ["desk@example.org"] }, { delay: "2h", labels: { edition: "evening" } });
  const running = await server.create("import_subscribers", { rows: 40 }, { labels: { list: "weekly" } });
  await server.signal(running, "go", 26);
  const asking = await server.create("deploy", { version: "2.4.0" }, { labels: { release: "2.4.0" } });
  const again = await server.create("release_report", { version: "2.5.0-rc.1", section_ms: 60_000 }, { labels });
  return { report, running, asking, again };
}

async function picture(name, where, there, { height = 860, onPhone = false, of = server } = {}) {
  for (const theme of ["light", "dark"]) {
    for (const phone of onPhone ? [false, true] : [false]) {
      const viewport = phone ? { width: 390, height: 844 } : { width: 1280, height };
      const page = await visit(browser, { theme, phone, viewport });
      await page.goto(`${of.url}/#${where}`);
      await there(page);
      await page.evaluate(() => document.fonts.ready);
      const file = path.join(folder, `${name}-${theme}${phone ? "-phone" : ""}.png`);
      await page.screenshot({ path: file });
      const { size } = await stat(file);
      if (size > LARGEST) throw new Error(`${file} has ${size} bytes; at most ${LARGEST} are allowed`);
      console.log(`${file} ${Math.round(size / 1024)} KiB`);
      await page.context().close();
    }
  }
}

