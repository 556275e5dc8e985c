// The list of tasks: filtered, searched, counted, alive.

import { get } from "./api.js";
import { h, lasted, progress, show, status, when } from "./dom.js";

const PHASES = ["queued", "running", "suspended", "blocked", "scheduled", "finished"];
const AGAIN = 2000;

export function list(query) {
  const chosen = { phase: query.get("phase") ?? "", tool: query.get("tool") ?? "", text: "" };
  const counts = h("ul", { class: "counts", "aria-label": "Tasks by phase" });
  const tool = h("select", { id: "tool", onchange: () => { chosen.tool = tool.value; refresh(); } },
    h("option", { value: "" }, "all tools"));
  const search = h("input", {
    id: "search", type: "search", placeholder: "id, message, label",
    oninput: () => { chosen.text = search.value.toLowerCase(); draw(); },
  });
  const body = h("tbody");
  const empty = h("p", { class: "quiet" });
  const more = h("button", { type: "button", hidden: true, onclick: () => { pages += 1; refresh(); } }, "Older tasks");
  let [pages, tasks, timer, gone] = [1, [], null, false];

  const matches = (task) => !chosen.text
    || [task.taskId, task.tool, task.statusMessage ?? "", ...Object.entries(task.labels).flat()]
      .some((part) => part.toLowerCase().includes(chosen.text));

  function draw() {
    const shown = tasks.filter(matches);
    show(body, shown.map(row));
    empty.textContent = shown.length ? "" : tasks.length ? "No task on this page matches." : "No tasks.";
  }

  async function refresh() {
    clearTimeout(timer);
    try {
      const found = [];
      let cursor = "";
      for (let page = 0; page < pages; page += 1) {
        const filter = new URLSearchParams({ limit: "100" });
        if (chosen.phase) filter.set("phase", chosen.phase);
        if (chosen.tool) filter.set("tool", chosen.tool);
        if (cursor) filter.set("cursor", cursor);
        const answer = await get(`/tasks?${filter}`);
        found.push(...answer.tasks);
        cursor = answer.nextCursor;
        if (!cursor) break;
      }
      more.hidden = !cursor;
      tasks = found;
      draw();
      const health = await get("/health");
      show(counts, PHASES.map((phase) => count(phase, health.tasks[phase] ?? 0)));
    } catch (error) {
      empty.textContent = error.message;
    }
    if (!gone) timer = setTimeout(refresh, document.hidden ? AGAIN * 10 : AGAIN);
  }

  function count(phase, number) {
    return h("li", {}, h("button", {
      type: "button", "data-phase": phase, "aria-pressed": String(chosen.phase === phase),
    }, `${phase} ${number}`));
  }

  counts.addEventListener("click", (event) => {
    const phase = event.target.dataset?.phase;
    if (!phase) return;
    chosen.phase = chosen.phase === phase ? "" : phase;
    pages = 1;
    refresh();
  });

  get("/tools").then((answer) => {
    tool.append(...answer.tools.map((each) => h("option", { value: each.name }, each.name)));
    tool.value = chosen.tool;
  }).catch(() => {});
  refresh();

  return {
    title: "Tasks",
    elements: [
      h("h1", {}, "Tasks"),
      counts,
      h("div", { class: "filters" },
        h("div", {}, h("label", { for: "tool" }, "Tool"), tool),
        h("div", {}, h("label", { for: "search" }, "Search"), search)),
      h("table", {},
        h("thead", {}, h("tr", {}, ["Task", "Status", "Created", "Ran"].map((name) => h("th", { scope: "col" }, name)))),
        body),
      empty,
      more,
    ],
    leave() {
      gone = true;
      clearTimeout(timer);
    },
  };
}

function row(task) {
  return h("tr", {},
    h("td", {},
      h("a", { href: `#/tasks/${task.taskId}` }, task.tool),
      " ", h("span", { class: "quiet" }, task.taskId.slice(0, 8)),
      h("div", { class: "line" }, task.statusMessage ?? ""),
      progress(task)),
    h("td", {}, status(task)),
    h("td", {}, when(task.createdAt)),
    h("td", {}, lasted(task)));
}
