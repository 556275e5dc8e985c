// The tasks that a task has started, and theirs, opened level by level.

import { get, query, taskPath } from "./api.js";
import { h, update } from "./dom.js";
import { lasted, problem, section, status } from "./parts.js";
import { number, some } from "./words.js";

// How many are read at once.
export const PAGE = 200;

export function children(record, page) {
  if (!page?.tasks.length) return null;
  const { started, ended } = record.children ?? {};
  return section("Children", { "data-key": "children" },
    started > 10 ? h("p", { class: "quiet" }, `${number(started)} started, ${number(ended)} ended`) : null,
    level(page, record.taskId));
}

function level(page, parent) {
  return h("ul", { class: "tree" }, page.nextCursor ? h("li", { "data-key": "older" }, earlier(page.nextCursor, parent)) : null,
    [...page.tasks].reverse().map(branch));
}

// Those before, page by page. It looks after itself: what was fetched stays while the others change.
function earlier(cursor, parent) {
  const list = h("ul", { class: "tree" });
  const button = h("button", {
    type: "button", class: "plain small",
    onclick: async () => {
      try {
        const page = await get(query(`${taskPath(parent)}/children`, { cursor, limit: PAGE }));
        list.prepend(...[...page.tasks].reverse().map(branch));
        cursor = page.nextCursor;
        button.hidden = !cursor;
        update(problems);
      } catch (error) {
        update(problems, problem(error));
      }
    },
  }, "Show earlier ones");
  const problems = h("div", {});
  return h("div", { "data-own": "" }, button, problems, list);
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
          update(place, level(await get(query(`${taskPath(task.taskId)}/children`, { limit: PAGE })), task.taskId));
        } catch (error) {
          update(place, problem(error));
        }
      },
    }, h("summary", {}, some(started, "child", "children")), inner));
}
