// What a form needs to know of a JSON Schema.

// The schema without the wrappers that generators put around one: a reference within the document, a
// single `allOf`, and `anyOf` with null for what may be absent.
export function simple(schema, root, depth = 0) {
  if (schema === true || schema === undefined) return {};
  if (depth > 16) return schema;
  if (typeof schema.$ref === "string" && schema.$ref.startsWith("#/")) {
    const { $ref, ...beside } = schema;
    const path = $ref.slice(2).split("/").map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));
    const found = path.reduce((at, part) => at?.[part], root);
    return found ? { ...simple(found, root, depth + 1), ...beside } : beside;
  }
  if (schema.allOf?.length === 1) {
    const { allOf, ...beside } = schema;
    return { ...simple(allOf[0], root, depth + 1), ...beside };
  }
  for (const word of ["anyOf", "oneOf"]) {
    const kinds = schema[word]?.filter((each) => each.type !== "null");
    if (kinds?.length === 1 && kinds.length < schema[word].length) {
      const { [word]: _, ...beside } = schema;
      return { ...simple(kinds[0], root, depth + 1), ...beside };
    }
  }
  return schema;
}

export function type(schema) {
  const types = [schema.type].flat().filter((each) => each && each !== "null");
  return types.length === 1 ? types[0] : undefined;
}

// The values to choose from with their words, if there is such a list.
export function choices(schema) {
  if (schema.enum) {
    const named = schema.enum.map((value, at) => [value, schema.enumNames?.[at] ?? String(value)]);
    return named.filter(([value]) => value !== null);
  }
  const titled = schema.oneOf ?? schema.anyOf;
  return titled?.length && titled.every((each) => "const" in each || each.enum?.length === 1)
    ? titled.map((each) => { const value = "const" in each ? each.const : each.enum[0]; return [value, each.title ?? String(value)]; })
    : null;
}
