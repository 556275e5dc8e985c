// What can be run, and a form to run it.

import { get, post } from "./api.js";
import { h, show } from "./dom.js";
import { form } from "./form.js";

export function tools() {
  const list = h("table");
  get("/tools").then((answer) => show(list,
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Tool"), h("th", { scope: "col" }, "Runs as a task"))),
    h("tbody", {}, answer.tools.map((tool) => h("tr", {},
      h("td", {}, h("a", { href: `#/tools/${encodeURIComponent(tool.name)}` }, tool.title ?? tool.name),
        h("div", { class: "line" }, tool.description ?? "")),
      h("td", {}, tool.taskSupport))))))
    .catch((error) => show(list, h("caption", { class: "error" }, error.message)));
  return { title: "Tools", elements: [h("h1", {}, "Tools"), list], leave() {} };
}

export function start(name) {
  const place = h("div");
  const result = h("div");
  get("/tools").then((answer) => {
    const tool = answer.tools.find((each) => each.name === name);
    if (!tool) return show(place, h("p", { class: "error" }, "There is no such tool."));
    place.append(
      h("p", { class: "quiet" }, tool.description ?? ""),
      form(tool.inputSchema, {
        submit: "Run",
        async onsubmit(values) {
          if (tool.taskSupport !== "forbidden") {
            const task = await post("/tasks", { tool: name, arguments: values });
            location.hash = `#/tasks/${task.taskId}`;
            return;
          }
          const done = await post(`/tools/${encodeURIComponent(name)}`, values);
          show(result, h("h2", {}, done.isError ? "Error" : "Result"),
            h("pre", { tabindex: "0" }, JSON.stringify(done.structuredContent ?? done.content, null, 2)));
        },
      }));
  }).catch((error) => show(place, h("p", { class: "error" }, error.message)));
  return { title: name, elements: [h("h1", {}, name), place, result], leave() {} };
}
