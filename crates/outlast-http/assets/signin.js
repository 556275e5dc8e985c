// A token is traded for a cookie that no script can read. It is sent once, in a body, and kept nowhere.

import { post } from "./api.js";
import { h, update } from "./dom.js";
import { problem } from "./parts.js";

export function signIn(then) {
  const token = h("input", {
    id: "token", type: "password", required: true, autocomplete: "current-password", spellcheck: "false",
  });
  const problems = h("div", {});
  const button = h("button", { type: "submit", class: "main" }, "Sign in");
  const page = h("div", { class: "sign-in" },
    h("h1", {}, "Sign in"),
    h("p", {}, "This server shows tasks to its users only. Sign in with a token that its operator has given you."),
    h("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        update(problems);
        try {
          await post("/session", { token: token.value });
          then();
        } catch (error) {
          update(problems, problem(error));
          token.select();
        } finally {
          button.disabled = false;
        }
      },
    },
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), token),
    problems, h("div", { class: "actions" }, button)));
  return { title: "Sign in", elements: [page], leave() {} };
}
