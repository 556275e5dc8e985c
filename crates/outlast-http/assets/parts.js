// What several pages show alike.

import { h, svg } from "./dom.js";
import { ago, exactly, figure, moment, number, span } from "./words.js";

const SIGNS = {
  working: "M2 8a6 6 0 1 1 6 6",
  input_required: "M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.8-1.1 1.6M8 12.6v.1",
  completed: "M3 8.5l3.3 3.3L13 4.5",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M3.5 8h9",
  scheduled: "M8 4v4l3 2M8 2a6 6 0 1 0 .1 0",
  queued: "M3 5h10M3 8h10M3 11h6",
  blocked: "M5 3.5v9M11 3.5v9",
  suspended: "M5 3.5v9M11 3.5v9",
};

export const icon = (path, name) =>
  svg("svg", { class: `icon ${name ?? ""}`, viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: path }));

// What people call the state of a task: the status, and the phase where it says more.
export function state(task) {
  if (task.status === "completed" && task.isError) return ["failed", "failed"];
  if (task.status === "working" && ["scheduled", "queued", "blocked", "suspended"].includes(task.phase)) {
    return [task.phase, task.phase === "suspended" ? "waiting" : task.phase];
  }
  return [task.status, task.status === "input_required" ? "input required" : task.status];
}

export function status(task) {
  const [name, words] = state(task);
  return h("span", { class: `status ${name}` }, icon(SIGNS[name] ?? "", name === "working" ? "turns" : ""), words);
}

export function progress(task) {
  const figures = task.progress;
  if (!figures || task.finishedAt) return null;
  const known = figures.percent !== undefined;
  return h("progress", {
    max: "100", value: known ? String(figures.percent) : undefined, "aria-label": `Progress of ${task.tool}`,
  });
}

// 45 % · 9 of 20
export function figures({ done, total, percent }) {
  const parts = [];
  if (percent !== undefined) parts.push(`${figure(percent, percent < 10 ? 1 : 0)} %`);
  if (total !== undefined && total !== 100 && total !== 1) parts.push(`${number(done)} of ${number(total)}`);
  else if (percent === undefined && done) parts.push(number(done));
  return parts.join(" · ");
}

export const time = (when, words = moment(when)) =>
  h("time", { datetime: when, title: exactly(when) }, words);

export const since = (when) => time(when, ago(when));

// How long it has run, or ran.
export function lasted(task, now = Date.now()) {
  if (!task.startedAt) return "";
  return span((task.finishedAt ? new Date(task.finishedAt) : now) - new Date(task.startedAt));
}

export function copies(words, text) {
  return h("button", {
    type: "button", class: "plain small", title: `Copy ${words}`,
    onclick: async ({ currentTarget: button }) => {
      try {
        await navigator.clipboard.writeText(text());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    },
  }, "Copy");
}

export const problem = (error) => h("p", { class: "problem", role: "alert" }, error.message ?? String(error));

// A name and what stands for it; nothing for what is not there.
export const facts = (pairs) => h("dl", { class: "facts" },
  pairs.filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

export const section = (title, properties, ...children) => {
  const id = `section-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return h("section", { "aria-labelledby": id, ...properties }, h("h2", { id }, title), ...children);
};
