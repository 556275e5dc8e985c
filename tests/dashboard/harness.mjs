// Starts what the dashboard's tests and pictures need: the server on a new store, a way to it that
// survives its restarts, and a browser.
//
// The browser never talks to the server's own port but to a door of ours in front of it: so a server
// can be killed and started again, on whatever port is free then, without the page's address changing,
// and every byte that goes through can be counted.
//
// While the page itself is being worked on, OUTLAST_ASSETS=crates/outlast-http/assets takes its parts
// from there, without building the server again.

import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BINARY = process.env.OUTLAST_DASHBOARD_SERVER
  ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target"), "debug/dashboard-server");

// Generous, because it only says when something is broken: nothing here waits for time to pass.
export const PATIENCE = Number(process.env.OUTLAST_DASHBOARD_PATIENCE ?? 60_000);

// A server on a new store, behind a door; with `users` (owner and scope of each) one that lets nobody
// else in, and their tokens in `tokens`; the store is in a new folder `under` this one.
export async function startServer({ users = null, under = os.tmpdir() } = {}) {
  const folder = await mkdtemp(path.join(under, "outlast-dashboard-"));
  const options = [];
  const tokens = {};
  if (users) {
    const file = path.join(folder, "tokens.json");
    await writeFile(file, JSON.stringify({ tokens: users.map(({ owner, scope }) => {
      const id = randomBytes(4).toString("hex");
      tokens[owner] = `olt_${id}_${randomBytes(32).toString("base64url")}`;
      const sha256 = createHash("sha256").update(tokens[owner]).digest("hex");
      return { id, owner, scope, created: Date.now(), sha256 };
    }) }), { mode: 0o600 });
    options.push("--auth-tokens", file);
  }
  const store = `sqlite:${path.join(folder, "tasks.db")}`;
  const door = await openDoor();
  let child = null;

  async function start() {
    child = spawn(BINARY, ["--listen", "127.0.0.1:0", "--store", store, ...options], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, XDG_STATE_HOME: folder, NO_COLOR: "1" },
    });
    const said = [];
    const lines = createInterface({ input: child.stderr });
    const port = new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        said.push(line);
        const found = line.match(/http:\/\/127\.0\.0\.1:(\d+)/);
        if (found) resolve(Number(found[1]));
      });
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}:\n${said.join("\n")}`)));
    });
    door.leadTo(await port);
  }

  async function end(signal) {
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  try {
    await start();
  } catch (error) {
    door.close();
    throw error;
  }
  return {
    url: door.url,
    door,
    tokens,
    pid: () => child.pid,
    // As a crash would.
    async kill() {
      door.leadTo(null);
      await end("SIGKILL");
    },
    start,
    async stop() {
      await end("SIGKILL");
      door.close();
      await rm(folder, { recursive: true, force: true });
    },
    ...client(door.url, Object.values(tokens)[0]),
  };
}

// The REST surface, for setting a scene.
function client(url, token) {
  async function ask(method, where, body, given = {}) {
    const headers = token ? { Authorization: `Bearer ${token}`, ...given } : given;
    const response = await fetch(new URL(where, url), {
      method,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${where}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
  return {
    ask,
    get: (where) => ask("GET", where),
    post: (where, body = {}, headers) => ask("POST", where, body, headers),
    async create(tool, args = {}, more = {}) {
      return (await ask("POST", "/tasks", { tool, arguments: args, ...more })).taskId;
    },
    // The task once it has ended.
    async ended(id) {
      for (;;) {
        const task = await ask("GET", `/tasks/${id}?wait=30s`);
        if (task.finishedAt) return task;
      }
    },
    signal: (id, name, message) => ask("POST", `/tasks/${id}/signals/${name}`, message),
  };
}

async function openDoor() {
  let [target, sent, received] = [null, 0, 0];
  const open = new Set();
  const server = net.createServer((inside) => {
    if (target === null) {
      inside.destroy();
      return;
    }
    const outside = net.connect(target, "127.0.0.1");
    const pair = [inside, outside];
    open.add(pair);
    const close = () => {
      for (const socket of pair) socket.destroy();
      open.delete(pair);
    };
    for (const socket of pair) {
      socket.setNoDelay(true);
      socket.on("error", close);
      // What was sent before the end still goes through: the last word of a socket says why it is closed.
      socket.on("close", () => {
        for (const other of pair) other.destroySoon();
        open.delete(pair);
      });
    }
    inside.on("data", (bytes) => { received += bytes.length; });
    outside.on("data", (bytes) => { sent += bytes.length; });
    inside.pipe(outside);
    outside.pipe(inside);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    // Where it leads; null shuts it, also for those who are inside.
    leadTo(port) {
      target = port;
      if (port === null) for (const pair of open) pair[0].destroy();
    },
    bytes: () => ({ sent, received }),
    close() {
      server.close();
      for (const pair of open) pair[0].destroy();
    },
  };
}

export const launch = () => chromium.launch({
  executablePath: process.env.OUTLAST_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run",
    // A page that was put together here does not count as the server's.
    ...(process.env.OUTLAST_ASSETS ? ["--disable-features=LocalNetworkAccessChecks"] : [])],
  timeout: PATIENCE,
});

// A page of a new visitor. What the browser complains about is kept in `page.complaints`.
export async function visit(browser, { theme = "light", phone = false, ...more } = {}) {
  const context = await browser.newContext({
    viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 860 },
    hasTouch: phone,
    colorScheme: theme,
    reducedMotion: "reduce",
    locale: "en-GB",
    timezoneId: "UTC",
    ...more,
  });
  context.setDefaultTimeout(PATIENCE);
  if (process.env.OUTLAST_ASSETS) await fromTree(context, process.env.OUTLAST_ASSETS);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    // What does not answer while a server is away is no fault of the page.
    if (message.type() === "error" && !/Failed to load resource|WebSocket connection/.test(message.text())) page.complaints.push(message.text());
  });
  return page;
}

async function fromTree(context, folder) {
  const kinds = { css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
  const scripts = (await readdir(folder)).filter((name) => name.endsWith(".js"));
  await context.route((url) => url.pathname === "/", async (route) => {
    const page = await readFile(path.join(folder, "index.html"), "utf8");
    const modules = scripts.map((name) => `<link rel="modulepreload" href="dashboard/tree/${name}">`).join("");
    const real = await route.fetch();
    await route.fulfill({ response: real, body: page.replace("{modules}", modules).replaceAll("{version}", "tree") });
  });
  await context.route("**/dashboard/tree/*", async (route) => {
    const name = new URL(route.request().url()).pathname.split("/").pop();
    await route.fulfill({ contentType: kinds[name.split(".").pop()], body: await readFile(path.join(folder, name)) });
  });
}
