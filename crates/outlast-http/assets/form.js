// A form made from a JSON Schema of an object: one field a property, and whatever has no field of its
// own as JSON.

import { h } from "./dom.js";

let count = 0;

export function form(schema, { submit, extra = [], onsubmit }) {
  const fields = Object.entries(schema.properties ?? {}).map(([name, property]) =>
    field(name, property, (schema.required ?? []).includes(name)));
  const problem = h("p", { class: "error", role: "alert" });
  const button = h("button", { class: "main", type: "submit" }, submit);
  return h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      problem.textContent = "";
      button.disabled = true;
      try {
        const values = {};
        for (const each of fields) {
          const value = each.read();
          if (value !== undefined) values[each.name] = value;
        }
        await onsubmit(values);
      } catch (error) {
        problem.textContent = error.message;
      } finally {
        button.disabled = false;
      }
    },
  }, fields.map((each) => each.element), problem, h("div", { class: "actions" }, button, extra));
}

function field(name, property, required) {
  const id = `field-${(count += 1)}`;
  const title = property.title ?? name;
  const label = required ? title : `${title} (optional)`;
  const hint = property.description
    ? h("p", { class: "quiet", id: `${id}-hint` }, property.description)
    : null;
  const common = { id, name, "aria-describedby": hint ? `${id}-hint` : undefined };
  const wrap = (input, read) => ({
    name,
    read,
    element: h("div", { class: "field" }, h("label", { for: id }, label), hint, input),
  });

  const options = choices(property);
  if (options) {
    const select = h("select", { ...common, required },
      required && property.default !== undefined ? null : h("option", { value: "" }, "—"),
      options.map(([value, words]) => h("option", { value: JSON.stringify(value) }, words)));
    if (property.default !== undefined) select.value = JSON.stringify(property.default);
    return wrap(select, () => (select.value === "" ? undefined : JSON.parse(select.value)));
  }
  const type = Array.isArray(property.type)
    ? property.type.find((each) => each !== "null")
    : property.type;
  if (type === "boolean") {
    const input = h("input", { ...common, type: "checkbox", checked: property.default === true });
    return {
      name,
      read: () => input.checked,
      element: h("div", { class: "field" },
        h("label", { for: id, class: "check" }, input, title), hint),
    };
  }
  if (type === "integer" || type === "number") {
    const input = h("input", {
      ...common, required, type: "number",
      min: property.minimum, max: property.maximum,
      step: type === "integer" ? "1" : "any",
      value: property.default ?? "",
    });
    return wrap(input, () => (input.value === "" ? undefined : Number(input.value)));
  }
  if (type === "string") {
    const kinds = { email: "email", uri: "url", date: "date", password: "password" };
    const input = h("input", {
      ...common, required,
      type: property.writeOnly ? "password" : kinds[property.format] ?? "text",
      minlength: property.minLength, maxlength: property.maxLength, pattern: property.pattern,
      value: property.default ?? "",
    });
    return wrap(input, () => (input.value === "" && !required ? undefined : input.value));
  }
  const area = h("textarea", {
    ...common, required, spellcheck: "false",
    value: property.default === undefined ? "" : JSON.stringify(property.default, null, 2),
  });
  return wrap(area, () => {
    if (area.value.trim() === "") return undefined;
    try {
      return JSON.parse(area.value);
    } catch {
      throw new Error(`${title} must be JSON, for example ${type === "array" ? '["a", "b"]' : "{}"}`);
    }
  });
}

function choices(property) {
  if (property.enum) {
    return property.enum.map((value, at) => [value, property.enumNames?.[at] ?? String(value)]);
  }
  const titled = property.oneOf?.filter((each) => "const" in each);
  return titled?.length ? titled.map((each) => [each.const, each.title ?? String(each.const)]) : null;
}
