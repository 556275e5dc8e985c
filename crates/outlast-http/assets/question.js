// A question of a task, with a form made from its schema. The first answer wins, whoever gives it.

import { h, update } from "./dom.js";
import { form } from "./form.js";
import { problem, time } from "./parts.js";

let count = 0;

export function question(request, answer) {
  const { message, requestedSchema, url } = request.params ?? {};
  const id = `question-${(count += 1)}`;
  const around = (...children) => h("section", { class: "question", "aria-labelledby": id },
    h("h2", { id }, request.method === "elicitation/create" ? message ?? "The task asks" : "The task waits for a client"),
    children,
    request.expiresAt ? h("p", { class: "quiet" }, "Open until ", time(request.expiresAt), ".") : null);
  if (request.method !== "elicitation/create") {
    return around(h("p", {}, "It needs a client that can do ", h("code", {}, request.method), "."));
  }
  const problems = h("div", {});
  const dismiss = (action, words, title) => h("button", {
    type: "button", title,
    onclick: async () => {
      try {
        await answer({ action });
      } catch (error) {
        update(problems, problem(error));
      }
    },
  }, words);
  const others = [
    dismiss("decline", "Decline", "Answer no: the task goes on without"),
    dismiss("cancel", "Dismiss", "Give no answer"),
  ];
  if (url) {
    return around(
      h("p", {}, "It asks you to open this address. Look at it first: ",
        /^https?:/i.test(url) ? h("a", { href: url, rel: "noreferrer noopener", target: "_blank" }, url) : h("code", {}, url)),
      form({ schema: { properties: {}, additionalProperties: false }, submit: "Done", actions: others, onsubmit: () => answer({ action: "accept" }) }), problems);
  }
  return around(form({
    schema: requestedSchema ?? {}, submit: "Answer", actions: others,
    onsubmit: (content) => answer({ action: "accept", content }),
  }), problems);
}
