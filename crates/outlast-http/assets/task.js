// One task, followed as it happens. Its events and its log come over a socket; every event is a hint
// to read again what it is about, so what is shown is what the server has, also after a pause.

import { get, getExact, passes, post, remove, taskPath } from "./api.js";
import { actions } from "./actions.js";
import { h, update } from "./dom.js";
import { json } from "./json.js";
import { live } from "./live.js";
import { log } from "./log.js";
import { copies, facts, figures, lasted, problem, progress, section, status, time } from "./parts.js";
import { question } from "./question.js";
import { artifacts, outcome, partials } from "./results.js";
import { SHOWN, history, timeline } from "./timeline.js";
import { PAGE, children } from "./tree.js";
import { webhooks } from "./webhooks.js";
import { bytes, number, some, span } from "./words.js";

// How long to wait for more before reading: events come in bursts.
const PAUSE = 80;
// What has no event of its own is read this often: the recorded steps while the task runs, and webhooks
// while somebody is still to be told.
const STEPS = 2000;
// What could not be read is asked for again after so long.
const AGAIN = 3000;
const MOST_EVENTS = 500;

export function task(id) {
  const path = taskPath(id);
  const head = h("div", {});
  const questions = h("div", {});
  const main = h("div", { class: "main-column" });
  const side = h("div", { class: "side-column" });
  const lines = log(path);
  const asked = new Map();
  const parts = { attempts: [], journal: [], journalTotal: 0, artifacts: [], partials: [], children: null, webhooks: null };
  const events = [];
  let dropped = 0;
  let [record, ending, failure, notice] = [null, null, null, null];
  let [left, timer, journalTimer, webhookTimer, retry, socket] = [false, null, null, null, null, null];
  let reading = Promise.resolve();
  const due = new Set();
  const missing = new Set();

  async function act(work, done) {
    failure = null;
    notice = null;
    try {
      await work();
      notice = done;
    } catch (error) {
      failure = error;
    }
    await read("task");
  }

  const resend = (delivery) => act(async () => {
    await post(`${path}/webhooks/${encodeURIComponent(delivery.id)}/resend`);
    read("webhooks");
  }, "It is being sent again.");

  const readers = {
    async task() {
      record = await getExact(path, "arguments");
      document.title = `${record.tool} · ${status(record).textContent} · Outlast`;
      if (record.finishedAt && !ending) ending = await getExact(`${path}/result`, "result", "error");
    },
    async attempts() { parts.attempts = (await get(`${path}/attempts`)).attempts; },
    async journal() {
      clearTimeout(journalTimer);
      const page = await getExact(`${path}/journal?after=${parts.journal.length}&limit=1000`, "entries");
      parts.journal.push(...page.entries);
      parts.journalTotal = page.total;
      if (page.next !== undefined) await readers.journal();
      else if (!record?.finishedAt) journalTimer = setTimeout(() => read("journal"), STEPS);
    },
    async artifacts() { parts.artifacts = (await get(`${path}/artifacts`)).artifacts; },
    async partials() {
      const after = parts.partials.at(-1)?.number ?? 0;
      const page = await getExact(`${path}/partials?after=${after}`, "partials");
      parts.partials.push(...page.partials);
      if (page.next !== undefined) await readers.partials();
    },
    async children() { parts.children = await get(`${path}/children?limit=${PAGE}`); },
    async webhooks() {
      clearTimeout(webhookTimer);
      // Most tasks have none, and the receivers of a task never change.
      if (parts.webhooks && !parts.webhooks.webhooks.length) return;
      parts.webhooks = await get(`${path}/webhooks`);
      if (parts.webhooks.deliveries.some(({ state }) => state === "pending")) webhookTimer = setTimeout(() => read("webhooks"), STEPS);
    },
  };

  // One after the other: two readers of one list would both put in what they both found to be new.
  function read(...what) {
    reading = reading.then(() => readNow(what));
    return reading;
  }

  async function readNow(what) {
    for (const part of what) {
      if (left) return;
      try {
        await readers[part]();
      } catch (error) {
        if (part === "task" && record && error.status === 404) failure = new Error("This task was deleted. What you see is what it was.");
        else if (part === "task" && !record) failure = error;
        if (record && passes(error)) readAgain(part);
      }
    }
    draw();
  }

  // No event comes for what is there already, so whoever could not read it has to ask again.
  function readAgain(part) {
    missing.add(part);
    retry ??= setTimeout(() => {
      retry = null;
      const parts = [...missing];
      missing.clear();
      read(...parts);
    }, AGAIN);
  }

  function soon(...what) {
    for (const part of what) due.add(part);
    timer ??= setTimeout(() => {
      timer = null;
      const parts = [...due];
      due.clear();
      read(...parts);
    }, PAUSE);
  }

  function told(message) {
    if (message.type === "LOG") {
      lines.add(message);
      return;
    }
    if (message.seq === undefined) return;
    events.push(message);
    if (events.length > MOST_EVENTS) {
      events.shift();
      dropped += 1;
    }
    soon("task", ...({
      PARTIAL: ["partials"], ARTIFACT: ["artifacts"], CHILD_STARTED: ["children"], CHILD_ENDED: ["children"],
      PROGRESS: [], INPUT_REQUIRED: ["attempts", "journal", "webhooks"],
    }[message.type] ?? ["attempts", "journal", ...(message.type === "CHANGED" ? ["children", "artifacts", "partials"] : [])]));
  }

  function draw() {
    if (left) return;
    if (!record) {
      update(head, h("h1", {}, "Task"), failure ? [problem(failure), h("p", {}, h("a", { href: "#/" }, "All tasks"))] : h("p", { class: "quiet", role: "status" }, "Loading…"));
      return;
    }
    update(head, title(), failure ? problem(failure) : null, notice ? h("p", { class: "done", role: "status" }, notice) : null, now());
    ask(record.finishedAt ? {} : record.inputRequests ?? {});
    update(main,
      ending ? outcome(ending) : null,
      artifacts(path, parts.artifacts),
      timeline(record, parts, () => { parts.shown = (parts.shown ?? SHOWN) * 4; draw(); }),
      partials(parts.partials),
      h("div", { "data-key": "log", "data-own": "" }));
    const place = main.querySelector('[data-key="log"]');
    if (!place.firstChild) place.append(lines.element);
    update(side, about(), children(record, parts.children), webhooks(parts.webhooks, resend), section("Arguments", { "data-key": "arguments" }, json(record.arguments, "the arguments")), history(events, record, dropped));
  }

  function title() {
    return h("div", { class: "title" },
      h("div", {},
        h("p", { class: "crumbs" }, h("a", { href: "#/" }, "Tasks"), record.parent ? [" › ", h("a", { href: `#/tasks/${record.parent}` }, "parent")] : null),
        h("h1", {}, record.tool),
        h("p", { class: "id-line" }, h("code", {}, record.taskId), copies("the id", () => record.taskId))),
      actions(record, { act, post, remove, path }));
  }

  function now() {
    const { eta, phase: part } = record.progress ?? {};
    const remaining = !record.finishedAt && record.phase === "running" && eta && new Date(eta) > Date.now() ? span(new Date(eta) - Date.now()) : null;
    return h("div", { class: "now" },
      h("p", { class: "state-line" }, status(record),
        record.attempt > 1 ? h("span", { class: "quiet" }, `attempt ${record.attempt}`) : null,
        record.startedAt ? h("span", { class: "quiet" }, record.finishedAt ? `ran ${lasted(record)}` : `for ${lasted(record)}`) : null,
        remaining ? h("span", { class: "quiet" }, `about ${remaining} left`) : null,
        record.finishedAt ? null : waits(record)),
      record.progress && !record.finishedAt
        ? h("div", { class: "big-progress" }, progress(record), h("span", { class: "figures" }, figures(record.progress)))
        : null,
      part && !record.finishedAt ? h("p", {}, h("strong", {}, part.name), part.total ? h("span", { class: "quiet" }, ` ${number(part.done)} of ${number(part.total)}`) : null) : null,
      !record.finishedAt && record.statusMessage ? h("p", { class: "message", "aria-live": "polite" }, record.progress?.message ?? record.statusMessage) : null);
  }

  // A form that somebody is filling in is left alone.
  function ask(open) {
    for (const [key, element] of asked) {
      if (key in open) continue;
      element.remove();
      asked.delete(key);
    }
    for (const [key, request] of Object.entries(open)) {
      if (asked.has(key)) continue;
      const element = question(request, async (answer) => {
        await post(`${path}/input`, { inputResponses: { [key]: answer } });
        await read("task");
      });
      asked.set(key, element);
      questions.append(element);
    }
  }

  function about() {
    const used = parts.attempts.map((attempt) => attempt.usage).filter(Boolean);
    const sum = (name) => used.reduce((total, usage) => total + (usage[name] ?? 0), 0);
    const labels = Object.entries(record.labels ?? {});
    return section("About", { "data-key": "about" }, facts([
      ["Created", time(record.createdAt)],
      ["Started", record.startedAt && [time(record.startedAt), waited(record)]],
      ["Ended", record.finishedAt && time(record.finishedAt)],
      ["Kept until", record.ttlMs && time(new Date(new Date(record.createdAt).getTime() + record.ttlMs).toISOString())],
      ["Priority", record.priority ? String(record.priority) : ""],
      ["Owner", record.owner === "local" ? "" : record.owner],
      ["Labels", labels.length ? labels.map(([key, value]) => h("a", { class: "label", href: `#/?${new URLSearchParams({ label: `${key}=${value}`.replaceAll(/[\\,]/g, "\\$&") })}` }, value ? `${key}=${value}` : key)) : ""],
      ["Retry of", record.retryOf && link(record.retryOf)],
      ["Clean-up", record.cleanup],
      ["Processor time", sum("cpuMs") ? span(sum("cpuMs")) : ""],
      ["Peak memory", used.length && Math.max(...used.map((usage) => usage.peakMemory ?? 0)) ? bytes(Math.max(...used.map((usage) => usage.peakMemory ?? 0))) : ""],
      ["Busy", sum("busyMs") ? span(sum("busyMs")) : ""],
      ["Recorded", parts.journalTotal ? `${number(parts.journalTotal)} in the journal` : ""],
    ]));
  }

  // Where the log begins that is sent: enough for a screen or two of a long one, not all of it.
  async function follow() {
    failure = null;
    await read("task");
    if (left) return;
    if (!record) {
      if (passes(failure)) retry = setTimeout(() => { retry = null; follow(); }, AGAIN);
      return;
    }
    const start = await lines.start().catch(() => 0);
    if (left) return;
    socket = live(`/ws/${encodeURIComponent(id)}`, {
      place: `0.${start}`, told,
      over: () => { lines.ended(); soon("task", "attempts", "journal", "webhooks"); },
      again: () => soon(...Object.keys(readers)),
    });
    await read("attempts", "journal", "artifacts", "partials", "children", "webhooks");
  }
  const clock = setInterval(() => { if (record && !record.finishedAt) draw(); }, 1000);
  draw();
  follow();

  return {
    title: "Task",
    elements: [head, questions, h("div", { class: "columns" }, main, side)],
    leave() {
      left = true;
      socket?.close();
      lines.close();
      for (const each of [timer, journalTimer, webhookTimer, retry]) clearTimeout(each);
      clearInterval(clock);
    },
  };
}

const waited = (record) => {
  const wait = new Date(record.startedAt) - new Date(record.createdAt);
  return wait >= 100 ? h("span", { class: "quiet" }, ` after ${span(wait)}`) : null;
};

// What a task that does not run is waiting for.
function waits({ phase, awaiting, blockedBy, runAt }) {
  const words = [];
  if (phase === "scheduled" && runAt) words.push("runs ", time(runAt));
  if (phase === "blocked") {
    words.push(...(blockedBy?.length ? ["after ", ...blockedBy.flatMap((id, at) => [at ? ", " : "", link(id)])] : ["held back by a limit"]));
  }
  if (phase === "suspended" && awaiting) {
    const { inputs = [], signals = [], children: young = [], until } = awaiting;
    const parts = [];
    if (inputs.length) parts.push(["an answer"]);
    if (signals.length) parts.push([`the signal ${signals.join(" or ")}`]);
    if (young.length) parts.push([some(young.length, "child", "children")]);
    if (until) parts.push([time(until)]);
    if (parts.length) words.push("for ", ...parts.flatMap((part, at) => [at ? " or " : "", ...part]));
  }
  return words.length ? h("span", { class: "quiet" }, words) : null;
}

const link = (id) => h("a", { href: `#/tasks/${id}` }, h("code", {}, id.slice(0, 8)));

