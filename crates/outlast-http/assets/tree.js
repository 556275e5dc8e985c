// The tasks that a task has started, and theirs, opened level by level.

import { get, taskPath } from "./api.js";
import { h, update } from "./dom.js";
import { lasted, problem, section, status } from "./parts.js";
import { some } from "./words.js";

export function children(record, page) {
  if (!page?.tasks.length) return null;
  return section("Children", { "data-key": "children" }, level(page, record.taskId));
}

function level(page, parent) {
  return h("ul", { class: "tree" }, [...page.tasks].reverse().map(branch),
    page.nextCursor ? h("li", { "data-key": "older" }, h("a", { href: `#/tasks/${parent}` }, "Only the latest are shown.")) : null);
}

function branch(task) {
  const head = [status(task), " ", h("a", { href: `#/tasks/${task.taskId}` }, task.tool), " ",
    h("span", { class: "id" }, task.taskId.slice(0, 8)), " ", h("span", { class: "quiet" }, lasted(task))];
  const { started = 0 } = task.children ?? {};
  if (!started) return h("li", { "data-key": task.taskId }, head);
  const inner = h("div", { "data-own": "" });
  return h("li", { "data-key": task.taskId }, head,
    h("details", {
      ontoggle: async ({ currentTarget }) => {
        const place = currentTarget.lastElementChild;
        if (!currentTarget.open || place.firstChild) return;
        try {
          update(place, level(await get(`${taskPath(task.taskId)}/children`), task.taskId));
        } catch (error) {
          update(place, problem(error));
        }
      },
    }, h("summary", {}, some(started, "child", "children")), inner));
}
