// What can be done with a task. What cannot be undone asks once more, in a dialog that Escape closes.

import { h, update } from "./dom.js";
import { parse } from "./exact.js";
import { problem } from "./parts.js";

export function actions(record, { act, post, remove, path }) {
  const over = Boolean(record.finishedAt);
  const button = (words, onclick, properties = {}) => h("button", { type: "button", onclick, "data-key": words, ...properties }, words);
  return h("div", { class: "actions", role: "group", "aria-label": "Actions" },
    over ? null : button("Cancel task…", () => cancel({ act, post, path }), { class: "danger" }),
    over ? null : button("Send signal…", () => signal({ act, post, path })),
    over ? button("Retry", () => act(async () => {
      const again = await post(`${path}/retry`);
      location.hash = `#/tasks/${again.taskId}`;
    }), { class: "main" }) : null,
    h("a", { class: "button", "data-key": "edit", href: `#/tools/${encodeURIComponent(record.tool)}?from=${record.taskId}` }, "Run with changes…"),
    over ? button("Delete…", () => erase({ act, remove, path }), { class: "danger" }) : null);
}

function cancel({ act, post, path }) {
  const reason = h("input", { id: "reason", type: "text", maxlength: "500", autocomplete: "off" });
  ask("Cancel this task?", "Cancel the task", [
    h("p", {}, "It is asked to stop, and stopped after a while if it does not. What it has recorded stays."),
    h("div", { class: "field" }, h("label", { for: "reason" }, "Reason", h("span", { class: "quiet" }, " optional")), reason),
  ], () => act(() => post(`${path}/cancel`, reason.value.trim() ? { reason: reason.value.trim() } : {}), "The task is being cancelled."));
}

function signal({ act, post, path }) {
  const name = h("input", { id: "signal-name", type: "text", required: true, autocomplete: "off", value: "INTERVENTION" });
  const body = h("textarea", { id: "signal-body", class: "code grows", rows: "3", spellcheck: "false", required: true, value: "{}" });
  ask("Send a signal into the task", "Send", [
    h("p", {}, "It is kept in order until the task reads it. Which names and messages it understands, its tool says."),
    h("div", { class: "field" }, h("label", { for: "signal-name" }, "Name"), name),
    h("div", { class: "field" }, h("label", { for: "signal-body" }, "Message (JSON)"), body),
  ], () => {
    let message;
    try {
      message = parse(body.value);
    } catch (error) {
      throw new Error(`The message is not JSON (${error.message}). Text stands in quotes: "faster".`);
    }
    return act(() => post(`${path}/signals/${encodeURIComponent(name.value)}`, message), "The signal is stored.");
  });
}

function erase({ act, remove, path }) {
  ask("Delete this task?", "Delete the task", [
    h("p", {}, "Its result, log, files and history are removed for good, for everybody."),
  ], () => act(async () => {
    await remove(path);
    location.hash = "#/";
  }));
}

// A dialog with one thing to confirm. What `then` throws at once stays in the dialog.
export function ask(title, words, content, then) {
  const problems = h("div", {});
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() },
    h("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          const done = then();
          dialog.close();
          await done;
        } catch (error) {
          update(problems, problem(error));
        }
      },
    },
    h("h2", { id: "dialog-title" }, title), content, problems,
    h("div", { class: "actions" },
      h("button", { type: "submit", class: "main" }, words),
      h("button", { type: "button", onclick: () => dialog.close() }, "Back"))));
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("input, textarea")?.focus();
}
