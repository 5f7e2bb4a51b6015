// Show the description of the API, openapi.json, as a page.

import { request } from "./api.js";
import { $ } from "./page.js";

function element(kind, text, ...children) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

// Follow a reference to a schema, and look into what may be null.
function resolved(schema, all) {
  const name = schema?.$ref?.split("/").pop();
  if (name) return all[name];
  return schema?.anyOf?.find((each) => each.type !== "null") ?? schema;
}

function rows(operation, all) {
  const found = (operation.parameters ?? []).map((each) => ({
    name: each.name,
    where: each.in,
    schema: each.schema,
    text: each.description,
  }));
  for (const [kind, body] of Object.entries(operation.requestBody?.content ?? {})) {
    for (const [name, schema] of Object.entries(resolved(body.schema, all).properties ?? {})) {
      found.push({ name, where: kind.split("/").pop(), schema, text: schema.description });
    }
  }
  return found;
}

function typeOf(schema, all) {
  const { type, format, contentMediaType } = resolved(schema, all) ?? {};
  const standard = schema.default ?? null;
  const kind = format === "binary" || contentMediaType ? "file" : (type ?? "");
  return standard === null ? kind : `${kind}, else ${standard}`;
}

function endpoint(method, path, operation, all) {
  const title = element("h2", "", element("code", `${method.toUpperCase()} ${path}`));
  const section = element("section", "", title, element("p", operation.summary));
  section.className = "endpoint";
  const given = rows(operation, all);
  if (given.length) {
    const head = element("tr", "", ...["name", "in", "type", "meaning"].map((text) => element("th", text)));
    const body = given.map(({ name, where, schema, text }) =>
      element("tr", "", element("td", "", element("code", name)), element("td", where),
        element("td", typeOf(schema, all)), element("td", text)));
    section.append(element("table", "", element("tbody", "", head, ...body)));
  }
  return section;
}

const api = await request("/api/openapi.json");
const all = api.components?.schemas ?? {};
for (const [path, operations] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    $("endpoints").append(endpoint(method, path, operation, all));
  }
}
$("endpoints").removeAttribute("aria-busy");
