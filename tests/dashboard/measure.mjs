// What the dashboard costs: `node measure.mjs [TASKS] [DASHBOARDS]`, 100,000 and 100 by default.
//
// It fills a store, and prints how long a browser needs from the address to the first paint and to the
// list on the screen, how many bytes that takes, and what open dashboards cost the server while nothing
// happens and while a task reports progress. Use a release build: OUTLAST_DASHBOARD_SERVER names it.
// Nothing here passes or fails by the clock.

import { readFile } from "node:fs/promises";

import { launch, startServer, visit } from "./harness.mjs";

const [tasks = 100_000, dashboards = 100] = process.argv.slice(2).map(Number);
const WRITERS = 32;
const VISITS = 7;
const WINDOW = 10_000;
// What a page waits between two looks at a list that changes: PAUSE in assets/list.js.
const PAUSE = 1000;
const HERTZ = 100;

const server = await startServer();
const browser = await launch();
try {
  const began = Date.now();
  await fill();
  console.log(`${tasks} finished tasks made in ${((Date.now() - began) / 1000).toFixed(0)} s`);
  await visits();
  await crowd();
} finally {
  await browser.close();
  await server.stop();
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

async function visits() {
  const [paint, list, again] = [[], [], []];
  let [first, second] = [0, 0];
  for (let each = 0; each < VISITS; each += 1) {
    const page = await visit(browser);
    const before = server.door.bytes().sent;
    await page.goto(server.url);
    await page.locator("tbody tr").nth(49).waitFor();
    list.push(await page.evaluate(() => performance.now()));
    paint.push(await painted(page));
    first = server.door.bytes().sent - before;
    const between = server.door.bytes().sent;
    await page.reload();
    await page.locator("tbody tr").nth(49).waitFor();
    again.push(await page.evaluate(() => performance.now()));
    second = server.door.bytes().sent - between;
    await page.context().close();
  }
  console.log(`first paint          ${median(paint)} ms`);
  console.log(`list on the screen   ${median(list)} ms, the next time ${median(again)} ms`);
  console.log(`transferred          ${kib(first)}, the next time ${kib(second)}`);
}

function painted(page) {
  return page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN);
}

// What pages do, without the browsers around them: a socket for all tasks, and after each burst of
// changes one look at the list and at the counts.
async function crowd() {
  const open = await Promise.all(Array.from({ length: dashboards }, dashboard));
  const quiet = await load(async () => {});
  const id = await server.create("import_subscribers", { rows: 1_000_000 });
  let row = 0;
  const busy = await load(async () => {
    row += 10_000;
    await server.signal(id, "go", row);
  });
  for (const each of open) each.close();
  const memory = Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${server.pid()}/status`, "utf8"))[1]);
  console.log(`${dashboards} open dashboards: ${quiet.toFixed(1)} ms of processor time a second while nothing happens,`);
  console.log(`                     ${busy.toFixed(1)} ms a second while a task reports progress ten times a second`);
  console.log(`                     (${open.reduce((sum, each) => sum + each.looks(), 0)} looks in all); memory ${kib(memory * 1024)}`);
}

async function dashboard() {
  let [timer, looks, closed] = [null, 0, false];
  const look = async () => {
    timer = null;
    looks += 1;
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
    if (states.get(task.taskId) !== state) timer ??= setTimeout(look, PAUSE);
    states.set(task.taskId, state);
  };
  await look();
  return {
    looks: () => looks,
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

function median(figures) {
  const sorted = figures.toSorted((a, b) => a - b);
  const [low, high] = [sorted[0], sorted.at(-1)].map((figure) => figure.toFixed(0));
  return `${sorted[Math.floor(sorted.length / 2)].toFixed(0)} (${low}–${high})`;
}

function kib(bytes) {
  return `${(bytes / 1024).toFixed(0)} KiB`;
}
