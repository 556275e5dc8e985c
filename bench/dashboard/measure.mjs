// What the dashboard costs: `bench/dashboard/run [TASKS] [DASHBOARDS] [--save]`, 100,000 and 100 by default.
//
// Prints a table: how long a browser needs from the address to the first paint and to the list on the
// screen, how many bytes that takes, and the server's memory and processor time with no dashboard open
// and with many, while nothing happens and while a task reports progress. The store is on the disk under
// target/, as that of the load program. Nothing here passes or fails by the clock.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { launch, ROOT, startServer, visit } from "../../tests/dashboard/harness.mjs";

const given = process.argv.slice(2);
const save = given.includes("--save");
const [tasks = 100_000, dashboards = 100] = given.filter((word) => !word.startsWith("--")).map(Number);
const WRITERS = 32;
const VISITS = 9;
const WINDOW = 10_000;
// What a page waits between two looks at a list that changes: PAUSE in assets/list.js.
const PAUSE = 1000;
const HERTZ = 100;

const lines = [];
function say(line) {
  console.log(line);
  lines.push(line);
}

await mkdir(path.join(ROOT, "target"), { recursive: true });
const server = await startServer({ under: path.join(ROOT, "target") });
const browser = await launch();
try {
  say(`${new Date().toISOString().slice(0, 10)}: ${await machine()}; Chromium ${browser.version()}, without a window\n`);
  const began = Date.now();
  await fill();
  console.error(`${tasks} finished tasks made in ${((Date.now() - began) / 1000).toFixed(0)} s`);
  say("| what | the first time | the next times |\n|---|---|---|");
  await visits();
  say(`\n| the server, ${tasks} tasks in its store | memory | nothing happens | a task reports progress ten times a second |\n|---|---|---|---|`);
  await crowd(0);
  await crowd(dashboards);
} finally {
  await browser.close();
  await server.stop();
}
if (save) {
  const file = path.join(ROOT, "bench/results", `${new Date().toISOString().slice(0, 10)}-dashboard.md`);
  const command = ["bench/dashboard/run", tasks, dashboards].join(" ");
  await writeFile(file, `# \`${command}\`\n\nFigures are the median (lowest–highest).\n\n${lines.join("\n")}\n`);
  console.error(`written to ${file}`);
}

async function fill() {
  let left = tasks;
  const writer = async () => {
    while (left > 0) {
      left -= 1;
      await server.create("sync_archive", {}, { labels: { number: String(left) } });
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  for (;;) {
    const { phases } = await server.get("/stats");
    if ((phases.finished ?? 0) >= tasks) return;
    await new Promise((done) => { setTimeout(done, 200); });
  }
}

// Each first visit is a new visitor's, with nothing kept; the next time is the same page again.
async function visits() {
  const [first, next] = [[], []];
  for (let each = 0; each < VISITS; each += 1) {
    const page = await visit(browser);
    first.push(await look(page, () => page.goto(server.url)));
    next.push(await look(page, () => page.reload()));
    await page.context().close();
  }
  const row = (what, key, unit) => say(`| ${what} | ${median(first, key)} ${unit} | ${median(next, key)} ${unit} |`);
  row("first paint, from the address", "paint", "ms");
  row("the list on the screen", "list", "ms");
  row("transferred", "kib", "KiB");
}

async function look(page, open) {
  const before = server.door.bytes().sent;
  await open();
  await page.locator("tbody tr").nth(Math.min(50, tasks) - 1).waitFor();
  const list = await page.evaluate(() => performance.now());
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN);
  return { paint, list, kib: (server.door.bytes().sent - before) / 1024 };
}

// What pages do, without the browsers around them: a socket for all tasks, and after each burst of
// changes one look at the list and at the counts.
async function crowd(size) {
  const open = await Promise.all(Array.from({ length: size }, dashboard));
  const quiet = await load(async () => {});
  const id = await server.create("import_subscribers", { rows: 1000 });
  let row = 0;
  const busy = await load(async () => {
    row += 1;
    await server.signal(id, "go", row);
  });
  const status = await readFile(`/proc/${server.pid()}/status`, "utf8");
  const memory = Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024;
  for (const each of open) each.close();
  await server.post(`/tasks/${id}/cancel`);
  await server.ended(id);
  say(`| ${size} open dashboards | ${memory.toFixed(1)} MiB | ${quiet.toFixed(1)} ms CPU/s | ${busy.toFixed(1)} ms CPU/s |`);
}

async function dashboard() {
  let [timer, closed] = [null, false];
  const refresh = async () => {
    timer = null;
    await Promise.all([server.get("/tasks?limit=50"), server.get("/stats")]);
  };
  const socket = new WebSocket(new URL("/ws", server.url.replace("http", "ws")));
  await new Promise((opened, failed) => {
    socket.onopen = opened;
    socket.onerror = () => failed(new Error("the socket for all tasks does not open"));
  });
  // Progress by itself changes neither the list nor the counts.
  const states = new Map();
  socket.onmessage = ({ data }) => {
    const { task } = JSON.parse(data);
    if (closed || !task) return;
    const state = `${task.status} ${task.phase}`;
    if (states.get(task.taskId) !== state) timer ??= setTimeout(refresh, PAUSE);
    states.set(task.taskId, state);
  };
  await refresh();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
      socket.close();
    },
  };
}

// Milliseconds of processor time that the server uses a second, while `work` is done ten times a second.
async function load(work) {
  const ticks = async () => {
    const fields = (await readFile(`/proc/${server.pid()}/stat`, "utf8")).split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const [begin, before] = [Date.now(), await ticks()];
  while (Date.now() - begin < WINDOW) {
    await work();
    await new Promise((done) => { setTimeout(done, 100); });
  }
  return ((await ticks() - before) * 1000) / HERTZ / ((Date.now() - begin) / 1000);
}

async function machine() {
  const memory = `${Math.round(os.totalmem() / 2 ** 30)} GiB`;
  return `${os.cpus()[0].model.trim()}, ${os.cpus().length} cores, ${memory}, Linux ${os.release()}; load ${os.loadavg()[0].toFixed(2)} at the start`;
}

function median(looks, key) {
  const sorted = looks.map((each) => each[key]).toSorted((a, b) => a - b);
  const [low, middle, high] = [0, Math.floor(sorted.length / 2), sorted.length - 1].map((place) => sorted[place].toFixed(0));
  return low === high ? middle : `${middle} (${low}–${high})`;
}
