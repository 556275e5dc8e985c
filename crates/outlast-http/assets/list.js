// The tasks: counted, filtered, searched, page by page, alive. What is looked for stands in the address,
// so that it can be sent to somebody, and the way back leads to where one was.

import { get, passes, query as withQuery } from "./api.js";
import { h, update } from "./dom.js";
import { live } from "./live.js";
import { figures, lasted, problem, progress, since, state, status } from "./parts.js";
import { number, some } from "./words.js";

const PAGE = 50;
// How often at most a list that changes all the time is read again.
const PAUSE = 1000;
// What could not be read is asked for again after so long.
const AGAIN = 3000;

// What people look for, as the server's filters. What a tool calls its own error has failed.
const STATES = {
  running: { status: "working", phase: "running" },
  queued: { phase: "queued" },
  scheduled: { phase: "scheduled" },
  blocked: { phase: "blocked" },
  waiting: { status: "working", phase: "suspended" },
  "input required": { status: "input_required" },
  completed: { outcome: "completed" },
  failed: { outcome: "error,failed" },
  cancelled: { status: "cancelled" },
};
const RARE = new Set(["scheduled", "blocked"]);
// Of so many tasks the last state is remembered.
const MOST_KNOWN = 5000;
const SPANS = { "": "any time", "1h": "the last hour", "24h": "the last day", "7d": "the last week" };
const HOURS = { "1h": 1, "24h": 24, "7d": 168 };
const FILTERS = ["state", "tool", "text", "label", "owner", "since"];

export function list(asked) {
  const chosen = Object.fromEntries(FILTERS.map((name) => [name, asked.get(name) ?? ""]));
  const cursor = asked.get("cursor") ?? "";
  const view = h("div", {});
  // Whose tasks are looked at: one's own, somebody's, everybody's.
  const whose = { owner: chosen.owner };
  let page = null;
  let counts = null;
  let toolNames = [];
  let failure = null;
  let held = 0;
  // The last known state of tasks that changed.
  const seen = new Map();
  let [timer, drawing, busy, stale, left] = [null, null, false, false, false];

  const address = (changes) => withQuery("#/", { ...chosen, ...changes });
  const go = (changes) => { location.hash = address(changes); };

  function filter() {
    const { state, tool, text, label, owner, since: span } = chosen;
    const created = HOURS[span] ? new Date(Date.now() - HOURS[span] * 3_600_000).toISOString() : "";
    return { ...STATES[state], tool, text, label, owner, created_after: created, cursor, limit: PAGE };
  }

  // A reader who is in the middle of the list is not to lose the place: what is new waits.
  const reading = () => view.querySelector("tbody")?.contains(document.activeElement) || scrollY > 240;

  async function refresh({ patient = false } = {}) {
    if (busy) { stale = true; return; }
    if (chosen.state && !(chosen.state in STATES)) {
      failure = new Error(`There is no state ${JSON.stringify(chosen.state)}.`);
      draw();
      return;
    }
    busy = true;
    clearTimeout(timer);
    timer = null;
    try {
      const [fresh, stats] = await Promise.all([get(withQuery("/tasks", filter())), get(withQuery("/stats", whose))]);
      counts = stats.counts;
      failure = null;
      const known = new Set(page?.tasks.map((task) => task.taskId));
      const news = page ? fresh.tasks.filter((task) => !known.has(task.taskId)) : [];
      if (patient && news.length && reading()) {
        held = news.length;
        const byId = new Map(fresh.tasks.map((task) => [task.taskId, task]));
        page.tasks = page.tasks.map((task) => byId.get(task.taskId) ?? task);
      } else {
        held = 0;
        page = fresh;
      }
    } catch (error) {
      failure = error;
    }
    busy = false;
    draw();
    if (stale) later();
    else if (failure && passes(failure)) later(AGAIN);
    stale = false;
  }

  const later = (pause = PAUSE) => {
    if (left) return;
    timer ??= setTimeout(() => {
      // Also where a refresh is still under way: it is that one which then asks for the next.
      timer = null;
      refresh({ patient: true });
    }, pause);
  };

  function draw() {
    if (left) return;
    update(view, states(), filters(), held ? news() : null, failure ? problem(failure) : null, table(), pager());
  }

  const news = () => h("button", { type: "button", class: "news", onclick: () => refresh() },
    `Show ${some(held, "new task")}`);

  function states() {
    const sum = ({ status: wanted, outcome, phase }) => (counts ?? [])
      .filter((each) => (!wanted || each.status === wanted) && (!outcome || outcome.split(",").includes(each.outcome)) && (!phase || each.phase === phase) && (!chosen.tool || each.tool === chosen.tool))
      .reduce((total, each) => total + each.count, 0);
    // What is counted is counted by tool and owner: of tasks that are narrowed down further nobody knows how many
    // there are.
    const counted = !chosen.text && !chosen.label && !chosen.since;
    const shown = Object.entries(STATES)
      .map(([name, filters]) => [name, sum(filters)])
      .filter(([name, count]) => !RARE.has(name) || count || chosen.state === name);
    const link = (name, words, count) => h("li", { "data-key": name || "all" }, h("a", {
      href: address({ state: name }), class: `state ${name.replaceAll(" ", "-")} ${counted && !count ? "none" : ""}`,
      "aria-current": chosen.state === name ? "true" : undefined,
    }, counted ? h("span", { class: "count" }, counts ? number(count) : "…") : null, h("span", {}, words)));
    return h("nav", { "aria-label": "Tasks by state" }, h("ul", { class: "states" },
      link("", "all", sum({})), shown.map(([name, count]) => link(name, name, count))));
  }

  function filters() {
    const names = [...new Set([...toolNames, ...(counts ?? []).map((each) => each.tool), chosen.tool])].filter(Boolean).sort();
    const select = (name, words, options) => h("div", {}, h("label", { for: name }, words),
      h("select", { id: name, onchange: ({ currentTarget }) => go({ [name]: currentTarget.value }) },
        options.map(([value, text]) => h("option", { value, selected: chosen[name] === value }, text))));
    const input = (name, words, placeholder) => h("div", {}, h("label", { for: name }, words),
      h("input", { id: name, name, type: "search", value: chosen[name], placeholder, autocomplete: "off", spellcheck: "false" }));
    const rare = ["label", "owner", "since"].filter((name) => chosen[name]).length;
    return h("form", {
      class: "filters", role: "search",
      onsubmit: (event) => {
        event.preventDefault();
        const given = new FormData(event.currentTarget);
        go({ text: given.get("text").trim(), label: given.get("label").trim(), owner: given.get("owner").trim() });
      },
    },
    h("div", { class: "wide" }, h("label", { for: "text" }, "Search"),
      h("input", {
        id: "text", name: "text", type: "search", value: chosen.text, placeholder: "Id, message, label…",
        autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "Control+K",
      })),
    h("button", { type: "submit" }, "Search"),
    select("tool", "Tool", [["", "all tools"], ...names.map((name) => [name, name])]),
    h("details", { class: "more", open: rare > 0 }, h("summary", {}, rare ? `More filters (${rare})` : "More filters"),
      h("div", { class: "filters" }, select("since", "Created in", Object.entries(SPANS)), input("label", "Label", "key=value"), input("owner", "Owner", "yourself; * is everybody"))),
    FILTERS.some((name) => chosen[name]) ? h("a", { class: "button plain", href: "#/" }, "Clear") : null);
  }

  function table() {
    if (!page) return failure ? null : h("p", { class: "quiet", role: "status" }, "Loading…");
    if (!page.tasks.length) return page.nextCursor ? further() : empty();
    return h("table", { class: "tasks" },
      h("caption", { class: "hidden" }, `${some(page.tasks.length, "task")}, the latest created first`),
      h("thead", {}, h("tr", {}, ["Task", "State", "Progress", "Created", "Ran"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", { onkeydown: move }, page.tasks.map(row)));
  }

  // A text is searched for some thousands of tasks at a time.
  const further = () => h("div", { class: "empty" },
    h("p", {}, "None of the tasks looked at so far has this text."),
    h("a", { class: "button main", href: address({ cursor: page.nextCursor }) }, "Search older tasks"));

  function empty() {
    if (FILTERS.some((name) => chosen[name])) {
      return h("div", { class: "empty" }, h("p", {}, "No task fits these filters."), h("a", { class: "button", href: "#/" }, "Show all tasks"));
    }
    if (cursor) return h("div", { class: "empty" }, h("p", {}, "There are no older tasks."), h("a", { class: "button", href: address({}) }, "Newest tasks"));
    return h("div", { class: "empty" }, h("p", {}, "No task has been started yet."),
      h("p", { class: "quiet" }, "Tasks that are started by an MCP client, by a request to ", h("code", {}, "POST /tasks"), ", or here show up at once."),
      h("a", { class: "button main", href: "#/tools" }, "Start a tool"));
  }

  function pager() {
    if (!page?.tasks.length || (!cursor && !page.nextCursor)) return null;
    return h("nav", { class: "pager", "aria-label": "Pages" },
      cursor ? h("a", { class: "button", href: address({}) }, "Newest") : null,
      page.nextCursor ? h("a", { class: "button", href: address({ cursor: page.nextCursor }), rel: "next" }, "Older") : null);
  }

  // Arrows go from task to task once one of them has the focus.
  function move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const links = [...event.currentTarget.querySelectorAll("th a")];
    const next = links[links.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  // A task that is on the page is shown as it is at once. What a change means for the page and the counts,
  // the server says; a task that only got further changes neither.
  function told({ type, task, resumed }) {
    if (type === "READY") {
      if (failure || (!resumed && page)) refresh();
      return;
    }
    if (!task) {
      later();
      return;
    }
    const at = page ? page.tasks.findIndex((each) => each.taskId === task.taskId) : -1;
    if (at >= 0) {
      page.tasks[at] = task;
      drawing ??= requestAnimationFrame(() => { drawing = null; draw(); });
    }
    const [now] = state(task);
    if (seen.get(task.taskId) === now) return;
    seen.set(task.taskId, now);
    if (seen.size > MOST_KNOWN) seen.delete(seen.keys().next().value);
    later();
  }

  const shortcut = (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    view.querySelector("#text").focus();
    view.querySelector("#text").select();
  };
  addEventListener("keydown", shortcut);
  const clock = setInterval(() => { if (page?.tasks.some((task) => !task.finishedAt)) draw(); }, 1000);
  const socket = live(withQuery("/ws", whose), { told, again: () => { if (!failure || passes(failure)) later(); } });
  draw();
  refresh();
  get("/tools").then(({ tools }) => { toolNames = tools.map((tool) => tool.name); draw(); }).catch(() => {});

  return {
    title: "Tasks",
    elements: [h("h1", { class: "hidden" }, "Tasks"), view],
    leave() {
      left = true;
      socket.close();
      clearInterval(clock);
      clearTimeout(timer);
      removeEventListener("keydown", shortcut);
    },
  };
}

// What is going on, or why it ended as it did.
function line(task) {
  const words = task.error ?? (task.progress && !task.finishedAt ? task.progress.message : task.statusMessage);
  return words ? h("div", { class: "line" }, words) : null;
}

function row(task) {
  const labels = Object.entries(task.labels ?? {});
  return h("tr", { "data-key": task.taskId, class: task.finishedAt ? "over" : "" },
    h("th", { scope: "row" },
      h("a", { href: `#/tasks/${task.taskId}` }, task.tool), " ",
      h("span", { class: "id" }, task.taskId.slice(0, 8)),
      labels.map(([key, value]) => [" ", h("span", { class: "label" }, value ? `${key}=${value}` : key)]),
      line(task)),
    h("td", { class: "state" }, status(task)),
    h("td", { class: "bar" }, task.progress && !task.finishedAt ? [progress(task), h("span", { class: "quiet" }, figures(task.progress))] : null),
    h("td", { class: "when" }, since(task.createdAt)),
    h("td", { class: "when" }, lasted(task)));
}
