// What came of a task: its result in content blocks, what it gave out before, and its files. Nothing of
// it is interpreted: text is text, and a picture is drawn as one or not at all.

import { at } from "./api.js";
import { h } from "./dom.js";
import { parse, stringify } from "./exact.js";
import { json, line } from "./json.js";
import { copies, section, time } from "./parts.js";
import { bytes } from "./words.js";

// Drawn by the browser as pictures, in which nothing runs.
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/svg+xml"]);

export function outcome(ending) {
  if (ending.error) {
    const { message, reason, data } = ending.error;
    return section("Error", { "data-key": "outcome", class: "outcome bad" },
      h("pre", { tabindex: "0" }, message),
      reason ? h("p", { class: "quiet" }, "Reason: ", h("code", {}, reason)) : null,
      data === undefined ? null : json(data, "the error's data"));
  }
  if (!ending.result) {
    return section("Cancelled", { "data-key": "outcome", class: "outcome" },
      h("p", {}, ending.reason ?? "No reason was given."));
  }
  return result(ending.result);
}

export function result({ content, structuredContent, isError }) {
  // A tool that returns a value says it twice, as text for models and as a value for programs: the value
  // is enough here.
  const twice = structuredContent !== undefined && content?.length === 1 && same(content[0].text, structuredContent);
  const blocks = twice ? [] : (content ?? []).map(block);
  const structured = structuredContent === undefined ? null
    : h("div", { class: "block" }, twice ? null : h("h3", {}, "Structured content"), json(structuredContent, "the structured content"));
  return section(isError ? "Result: an error" : "Result", { "data-key": "outcome", class: `outcome ${isError ? "bad" : "good"}` },
    blocks.length || structured ? [blocks, structured] : h("p", { class: "quiet" }, "The tool returned nothing."));
}

function same(text, value) {
  try {
    return stringify(parse(text)) === stringify(value);
  } catch {
    return false;
  }
}

function block(content) {
  switch (content.type) {
    case "text":
      return h("div", { class: "block" }, copies("the text", () => content.text), h("pre", { tabindex: "0" }, content.text));
    case "image":
      return PICTURES.has(content.mimeType)
        ? h("figure", { class: "block" }, h("img", { src: `data:${content.mimeType};base64,${content.data}`, alt: "Picture in the result" }))
        : other(content);
    case "audio":
      return /^audio\/[\w.+-]+$/.test(content.mimeType)
        ? h("figure", { class: "block" }, h("audio", { controls: true, src: `data:${content.mimeType};base64,${content.data}` }))
        : other(content);
    case "resource_link":
      return h("p", { class: "block" }, "Resource ", h("code", {}, content.uri), content.description ? `: ${content.description}` : "");
    case "resource":
      return h("div", { class: "block" }, h("p", {}, "Resource ", h("code", {}, content.resource?.uri ?? "")),
        typeof content.resource?.text === "string" ? h("pre", { tabindex: "0" }, content.resource.text) : other(content));
    default:
      return other(content);
  }
}

const other = (content) => h("div", { class: "block" }, json(content, "the content"));

export function partials(list) {
  if (!list.length) return null;
  return section("Partial results", { "data-key": "partials" }, h("ol", { class: "partials" },
    list.map(({ number, at, value }) => h("li", { "data-key": `partial-${number}` }, time(at), line(value, `partial result ${number}`)))));
}

export function artifacts(path, list) {
  if (!list.length) return null;
  return section("Files", { "data-key": "artifacts" }, h("ul", { class: "artifacts" }, list.map((file) => {
    const address = at(`${path}/artifacts/${file.name.split("/").map(encodeURIComponent).join("/")}`);
    return h("li", { "data-key": `${file.name} ${file.sha256}` },
      PICTURES.has(file.mimeType) && file.size < 4 * 1024 * 1024 ? h("img", { src: address, alt: "", loading: "lazy" }) : null,
      h("div", {}, h("a", { href: address, download: file.name.split("/").pop() }, file.name),
        h("div", { class: "quiet" }, `${bytes(file.size)} · ${file.mimeType}`)));
  })));
}
