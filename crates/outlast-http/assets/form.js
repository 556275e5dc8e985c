// A form made from the JSON Schema of an object: a field for each property, and JSON for whatever has
// no field of its own. The browser checks what it can; the server has the last word.

import { h, update } from "./dom.js";
import { parse, stringify, typed } from "./exact.js";
import { problem } from "./parts.js";
import { choices, simple, type } from "./schema.js";

let count = 0;

// `onsubmit` gets the values; what it throws is shown. `values` are put in beforehand.
export function form({ schema, values = {}, submit, actions = [], extra = [], onsubmit }) {
  const root = simple(schema ?? {}, schema);
  const fields = fieldset(root, schema, values);
  const problems = h("div", {});
  const button = h("button", { class: "main", type: "submit" }, submit);
  return h("form", {
    "data-own": "",
    onkeydown: (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
    },
    onsubmit: async (event) => {
      event.preventDefault();
      update(problems);
      let given;
      try {
        given = fields.read();
      } catch (error) {
        update(problems, problem(error));
        error.field?.focus();
        return;
      }
      button.disabled = true;
      try {
        await onsubmit(given);
      } catch (error) {
        update(problems, problem(error));
      } finally {
        button.disabled = false;
      }
    },
  }, fields.elements, extra, problems, h("div", { class: "actions" }, button, actions));
}

// The fields of an object's properties. Values that the schema does not name stand under "other".
export function fieldset(schema, root, values = {}) {
  const properties = Object.entries(schema.properties ?? {});
  if (!properties.length && schema.additionalProperties !== false) {
    const all = area("Arguments", { type: "object" }, Object.keys(values).length ? values : undefined, false);
    return { elements: [all.element], read: () => all.read() ?? {} };
  }
  const fields = properties.map(([name, property]) => {
    const required = (schema.required ?? []).includes(name);
    return { name, ...field(name, simple(property, root), required, values[name]) };
  });
  const unnamed = Object.entries(values).filter(([name]) => !Object.hasOwn(schema.properties ?? {}, name));
  const other = unnamed.length ? area("other", { type: "object", title: "Other arguments" }, Object.fromEntries(unnamed), false) : null;
  const read = () => ({
    ...other?.read(),
    ...Object.fromEntries(fields.map(({ name, read: value }) => [name, value()]).filter(([, value]) => value !== undefined)),
  });
  const elements = [...fields, ...(other ? [other] : [])].map(({ element }) => element);
  return { elements: elements.length ? elements : [h("p", { class: "quiet" }, "It takes no arguments.")], read };
}

function frame(name, schema, required, input, { id, hint } = {}) {
  return h("div", { class: "field" },
    h("label", { for: id }, schema.title ?? name, required ? null : h("span", { class: "quiet" }, " optional")),
    hint, input);
}

function field(name, schema, required, given) {
  const id = `field-${(count += 1)}`;
  const hint = schema.description ? h("p", { class: "hint", id: `${id}-hint` }, schema.description) : null;
  const common = { id, name, "aria-describedby": hint ? `${id}-hint` : undefined };
  const value = given ?? schema.default;
  const kind = type(schema);
  const around = (input) => frame(name, schema, required, input, { id, hint });

  const options = choices(schema);
  if (options) return choose(options, common, around, required, value);
  // Not to say anything is something else than to say no.
  if (kind === "boolean" && !required && typeof value !== "boolean") {
    return choose([[true, "yes"], [false, "no"]], common, around, required);
  }
  if (kind === "boolean") {
    const input = h("input", { ...common, type: "checkbox", checked: value === true });
    const element = h("div", { class: "field" },
      h("label", { class: "check", for: id }, input, schema.title ?? name), hint);
    return { element, read: () => input.checked };
  }
  if (kind === "integer" || kind === "number") {
    const input = h("input", {
      ...common, required, type: "number", inputmode: kind === "integer" ? "numeric" : "decimal",
      min: schema.minimum, max: schema.maximum, step: kind === "integer" ? "1" : "any",
      value: value === undefined || value === null ? "" : value.source ?? String(value),
    });
    return { element: around(input), read: () => (input.value === "" ? undefined : typed(input.value)) };
  }
  if (kind === "string") return words(schema, common, around, required, value);
  const several = kind === "array" && schema.items && choices(simple(schema.items, schema));
  if (several) return chooseSome(name, schema, several, id, hint, required, value);
  return area(name, schema, value, required, { id, hint, common });
}

function choose(options, common, around, required, value) {
  const empty = !required || value === undefined;
  const select = h("select", { ...common, required },
    empty ? h("option", { value: "" }, required ? "Choose…" : "—") : null,
    options.map(([each, words]) => h("option", { value: JSON.stringify(each) }, words)));
  if (value !== undefined) select.value = JSON.stringify(value);
  return { element: around(select), read: () => (select.value === "" ? undefined : JSON.parse(select.value)) };
}

function chooseSome(name, schema, options, id, hint, required, value) {
  const boxes = options.map(([each, words], at) => {
    const input = h("input", { type: "checkbox", id: `${id}-${at}`, checked: (value ?? []).includes(each) });
    return { each, input, element: h("label", { class: "check", for: `${id}-${at}` }, input, words) };
  });
  const title = schema.title ?? name;
  const element = h("fieldset", { class: "field", "aria-describedby": hint ? `${id}-hint` : undefined },
    h("legend", {}, title, required ? null : h("span", { class: "quiet" }, " optional")), hint, boxes.map((box) => box.element));
  const read = () => {
    const chosen = boxes.filter(({ input }) => input.checked).map(({ each }) => each);
    const { minItems = 0, maxItems = Infinity } = schema;
    if (chosen.length < minItems && (required || chosen.length)) throw wrong(`${title}: choose at least ${minItems}.`, boxes[0].input);
    if (chosen.length > maxItems) throw wrong(`${title}: choose at most ${maxItems}.`, boxes[0].input);
    return chosen.length || required ? chosen : undefined;
  };
  return { element, read };
}

const KINDS = { email: "email", uri: "url", date: "date", password: "password" };

function words(schema, common, around, required, value) {
  const short = schema.format || schema.pattern || schema.writeOnly || schema.maxLength <= 200;
  const bounds = { required, minlength: schema.minLength, maxlength: schema.maxLength, value: value ?? "" };
  const input = short
    ? h("input", {
      ...common, ...bounds, autocomplete: "off",
      // HTML's has to fit all of the text, a schema's any part of it.
      pattern: schema.pattern && `.*(?:${schema.pattern}).*`,
      type: schema.writeOnly ? "password" : KINDS[schema.format] ?? "text",
    })
    : h("textarea", { ...common, ...bounds, rows: "1", class: "grows" });
  return { element: around(input), read: () => (input.value === "" && !required ? undefined : input.value) };
}

function area(name, schema, value, required, { id = `field-${(count += 1)}`, hint = null, common = { id, name } } = {}) {
  const kind = type(schema);
  const example = kind === "array" ? '["a", "b"]' : kind === "object" ? '{"key": "value"}' : "null";
  const complaint = h("p", { class: "problem", id: `${id}-problem`, role: "status" });
  const check = () => {
    const text = input.value.trim();
    if (text === "") return [undefined, ""];
    let parsed;
    try {
      parsed = parse(text);
    } catch (error) {
      return [undefined, `This is not JSON (${error.message}). For example: ${example}`];
    }
    const is = Array.isArray(parsed) ? "array" : parsed === null ? "null" : typeof parsed;
    if (["array", "object"].includes(kind) && is !== kind) return [undefined, `This must be an ${kind}, for example ${example}`];
    return [parsed, ""];
  };
  const input = h("textarea", {
    ...common, required, class: "code grows", rows: "3", spellcheck: "false", placeholder: example,
    "aria-describedby": [common["aria-describedby"], `${id}-problem`].filter(Boolean).join(" "),
    value: value === undefined ? "" : stringify(value),
    oninput: () => {
      const [, why] = check();
      complaint.textContent = why;
      input.setAttribute("aria-invalid", String(why !== ""));
    },
  });
  const read = () => {
    const [parsed, why] = check();
    if (why) throw wrong(`${schema.title ?? name}: ${why}`, input);
    return parsed;
  };
  return { element: frame(name, { ...schema, title: `${schema.title ?? name} (JSON)` }, required, [input, complaint], { id, hint }), read };
}

function wrong(message, field) {
  const error = new Error(message);
  error.field = field;
  return error;
}
