// What waits, what runs, who works, and how that went over the last hour.

import { get, post, toolPath } from "./api.js";
import { ask } from "./actions.js";
import { charts } from "./charts.js";
import { h, update } from "./dom.js";
import { facts, problem, section, since } from "./parts.js";
import { number, span } from "./words.js";

const PAUSE = 2000;

// What a queue is counted by, and what that is called.
const PHASES = [["running", "Running"], ["queued", "Queued"], ["scheduled", "Scheduled"], ["blocked", "Blocked"], ["suspended", "Waiting"]];

export function activity() {
  const view = h("div", {}, h("p", { class: "quiet", role: "status" }, "Loading…"));
  let [failure, timer, left, last] = [null, null, false, null];

  async function refresh() {
    clearTimeout(timer);
    try {
      const [queues, stats, workers, schedules] = await Promise.all([get("/queues"), get("/stats"), get("/workers"), mine(get("/schedules"))]);
      failure = null;
      last = [queues, stats, workers, schedules];
      if (!left) draw(...last);
    } catch (error) {
      // What was there stays: the page says from when it is.
      failure = last && error.status === 0 ? null : error;
      if (!left && last) draw(...last);
      else if (!left) update(view, problem(error));
    }
    if (!left) timer = setTimeout(refresh, document.hidden ? PAUSE * 10 : PAUSE);
  }

  async function act(work) {
    try {
      await work();
      failure = null;
    } catch (error) {
      failure = error;
    }
    await refresh();
  }

  // Schedules are an administrator's; whoever is none sees the rest.
  async function mine(asked) {
    try {
      return (await asked).schedules;
    } catch (error) {
      if (error.status === 403) return [];
      throw error;
    }
  }

  function draw(queues, stats, workers, schedules) {
    update(view, failure ? problem(failure) : null, summary(queues, stats), charts(stats), table(queues), calendar(schedules), crew(workers));
  }

  function summary(queues, stats) {
    const sum = (name) => queues.queues.reduce((total, queue) => total + queue[name], 0);
    const card = (words, value, note) => h("div", { class: "figure" }, h("dt", {}, words), h("dd", {}, value, note ? h("span", { class: "quiet" }, note) : null));
    return h("dl", { class: "figures-row" },
      card("Running", number(sum("running"))),
      card("Queued", number(sum("queued")), stats.oldestQueued ? ` the oldest for ${span(stats.oldestQueued.ageMs)}` : ""),
      card("Waiting", number(sum("suspended"))),
      card("Asking for input", number(sum("inputRequired"))));
  }

  function table(queues) {
    const all = queues.paused
      ? h("button", { type: "button", class: "main", onclick: () => act(() => post("/queues/resume")) }, "Resume everything")
      : h("button", {
        type: "button",
        onclick: () => ask("Pause everything?", "Pause everything", [h("p", {}, "No task is started until somebody resumes it. What runs goes on, and new tasks wait.")], () => act(() => post("/queues/pause"))),
      }, "Pause everything…");
    return section("Queues", { "data-key": "queues" },
      queues.paused ? h("p", { class: "warning" }, "Everything is paused: no task is started.") : null,
      queues.queues.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Queues" }, h("table", { class: "queues" },
        h("thead", {}, h("tr", {}, ["Tool", ...PHASES.map(([, words]) => words), ""].map((name, at) =>
          h(name ? "th" : "td", { scope: name ? "col" : undefined, class: at ? "number" : "" }, name)))),
        h("tbody", {}, queues.queues.map((queue) => h("tr", { "data-key": queue.tool },
          h("th", { scope: "row" }, h("a", { href: `#/?${new URLSearchParams({ tool: queue.tool })}` }, queue.tool),
            queue.offered ? null : h("span", { class: "label" }, "not offered here"),
            queue.paused ? h("span", { class: "label warn" }, "paused") : null),
          PHASES.map(([name, words]) => h("td", { class: `number ${queue[name] ? "" : "none"}`, "data-name": words }, number(queue[name]))),
          h("td", { class: "number" }, h("button", {
            type: "button", class: "small",
            "aria-label": `${queue.paused ? "Resume" : "Pause"} ${queue.tool}`,
            onclick: () => act(() => post(`${toolPath(queue.tool)}/${queue.paused ? "resume" : "pause"}`)),
          }, queue.paused ? "Resume" : "Pause"))))))) : h("p", { class: "quiet" }, "There are no queues: no tool runs as a task."),
      limits(queues.limits),
      h("div", { class: "actions" }, all));
  }

  // Each of them holds for the tasks of one key, all over the store.
  function limits(all) {
    const named = Object.entries(all);
    if (!named.length) return null;
    const words = ({ running, rate, queued }) => (running !== undefined ? `${number(running)} at a time` : rate ?? `at most ${number(queued)} waiting`);
    return h("p", { class: "limits" }, h("span", { class: "quiet" }, "Limits: "),
      named.map(([name, limit]) => h("span", { class: "limit" }, h("code", {}, name), ` ${words(limit)}`)));
  }

  function calendar(schedules) {
    if (!schedules.length) return null;
    const path = (schedule) => `/schedules/${encodeURIComponent(schedule.name)}`;
    const when = (schedule) => (schedule.cron ? `${schedule.cron} (${schedule.timeZone})` : `every ${schedule.every}`);
    const act_on = (schedule, verb, words) => h("button", {
      type: "button", class: "small", "aria-label": `${words} ${schedule.name}`,
      onclick: () => act(() => post(`${path(schedule)}/${verb}`)),
    }, words);
    return section("Schedules", { "data-key": "schedules" },
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Schedules" }, h("table", { class: "queues" },
        h("thead", {}, h("tr", {}, ["Schedule", "Tool", "When", "Next", "Last", ""].map((name) => h(name ? "th" : "td", { scope: name ? "col" : undefined }, name)))),
        h("tbody", {}, schedules.map((schedule) => h("tr", { "data-key": schedule.name },
          h("th", { scope: "row" }, schedule.name, schedule.paused ? h("span", { class: "label warn" }, "paused") : null),
          h("td", { "data-name": "Tool" }, schedule.tool),
          h("td", { "data-name": "When" }, when(schedule), schedule.note ? h("span", { class: "quiet" }, ` ${schedule.note}`) : null),
          h("td", { "data-name": "Next" }, schedule.paused || !schedule.nextAt ? "" : new Date(schedule.nextAt).toLocaleString()),
          h("td", { "data-name": "Last" }, schedule.lastTaskId ? h("a", { href: `#/tasks/${schedule.lastTaskId}` }, schedule.lastFireAt ? since(schedule.lastFireAt) : "by hand") : ""),
          h("td", {}, schedule.paused ? act_on(schedule, "resume", "Resume") : act_on(schedule, "pause", "Pause"), " ", act_on(schedule, "run", "Run now"))))))));
  }

  function crew({ workers, noWorker }) {
    const missed = noWorker.map(({ tool, version, requires }) => h("li", { "data-key": `${tool} ${version}` },
      `No worker runs version ${version} of ${tool}${requires.length ? `, which requires ${requires.join(", ")}` : ""}: its tasks wait.`));
    return section("Workers", { "data-key": "workers" }, missed.length ? h("ul", { "data-key": "missed", role: "status" }, missed) : null, h("ul", { class: "workers" }, workers.map((worker) => h("li", { "data-key": worker.id },
      h("div", { class: "worker-head" }, h("strong", {}, worker.name), h("span", {}, `${number(worker.slotsTaken)} of ${number(worker.slots)} slots taken`)),
      h("progress", { max: String(worker.slots), value: String(worker.slotsTaken), "aria-label": "Slots taken" }),
      facts([
        ["Process", worker.machine ? `${worker.pid} on ${worker.machine}` : String(worker.pid)],
        ["Since", since(worker.since)],
        ["Last seen", since(worker.seenAt)],
        ["Attempts", worker.retries ? `${number(worker.attempts)}, ${number(worker.retries)} of them followed by another` : number(worker.attempts)],
        ["Leases lost", worker.leasesLost ? number(worker.leasesLost) : ""],
      ])))));
  }

  refresh();
  return {
    title: "Activity",
    elements: [h("h1", {}, "Activity"), view],
    leave() {
      left = true;
      clearTimeout(timer);
    },
  };
}
