// Holds every message in the records of tap.py to the official JSON Schemas.
//
//     node schemas.mjs RECORD...
//
// The schemas of 2025-11-25 and 2026-07-28 come with the source package of the MCP Python SDK,
// those of the tasks extension with its own package; scripts/setup fetches both. For older
// revisions no package carries the schema: their messages are held to that of 2025-11-25, which
// took nothing away that a server sends.
//
// Each different complaint is printed once, with the first message that it is about.

import { createReadStream, existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import * as tasks from "@modelcontextprotocol/ext-tasks/core/v2";

const folder = join(dirname(fileURLToPath(import.meta.url)), "../../.deps/schemas");
const EXTENSION = ["tasks/get", "tasks/update", "tasks/cancel"];

/** The official schema of one revision, compiled definition by definition. */
class Revision {
    #definitions;
    #ajv;
    #compiled = new Map();

    constructor(version) {
        const file = join(folder, `${version}.json`);
        if (!existsSync(file)) {
            console.error(`schemas: ${file} is missing; run scripts/setup interop`);
            process.exit(2);
        }
        const schema = JSON.parse(readFileSync(file, "utf8"));
        this.#definitions = schema.$defs;
        // The published schema of 2025-11-25 says `integer` where its source says `number`; 2026-07-28
        // has it right, and the official suite itself asks a server for 95.5.
        const fraction = schema.$defs.NumberSchema?.properties.default;
        if (version === "2025-11-25" && fraction) fraction.type = "number";
        this.#ajv = new Ajv2020({ strict: false, allErrors: false });
        addFormats(this.#ajv);
        // The schemas call the Base64 text of a blob a `byte`.
        this.#ajv.addFormat("byte", /^[A-Za-z0-9+/]*={0,2}$/);
        this.#ajv.addSchema(schema, "mcp");
    }

    /** What the definition finds wrong with a value, or undefined. */
    complaint(definition, value) {
        if (!this.#compiled.has(definition)) {
            if (!this.#definitions[definition]) throw new Error(`no definition ${definition}`);
            this.#compiled.set(definition, this.#ajv.compile({ $ref: `mcp#/$defs/${definition}` }));
        }
        const check = this.#compiled.get(definition);
        if (check(value)) return undefined;
        return check.errors.map((e) => `${definition}${e.instancePath}: ${e.message}`).join("; ");
    }

    /** The definition whose `method` is this one and whose name ends like that. */
    named(method, ending) {
        return Object.keys(this.#definitions).find(
            (name) => name.endsWith(ending) && this.#definitions[name].properties?.method?.const === method);
    }

    has(definition) {
        return definition in this.#definitions;
    }
}

const revisions = { "2025-11-25": new Revision("2025-11-25"), "2026-07-28": new Revision("2026-07-28") };

/** What a schema of the tasks extension finds wrong with a value, or undefined. */
function extensionComplaint(name, value) {
    const { success, error } = tasks[name].safeParse(value);
    if (success) return undefined;
    return `${name}: ${error.issues.map((i) => `/${i.path.join("/")} ${i.message}`).join("; ")}`;
}

/** Everything wrong with one message of the server. */
function complaint({ version, request, message }) {
    const modern = version === "2026-07-28";
    const revision = revisions[modern ? version : "2025-11-25"];
    if (message === null || typeof message !== "object") return "not a JSON object";
    if (message.method !== undefined) {
        const ending = message.id === undefined ? "Notification" : "Request";
        if (modern && message.method === "notifications/tasks")
            return extensionComplaint("TaskStatusNotificationV2Schema", message);
        const definition = revision.named(message.method, ending);
        if (!definition) return `${version} knows no ${ending} ${message.method}`;
        return revision.complaint(definition, message);
    }
    if (message.error !== undefined) return revision.complaint("JSONRPCErrorResponse", message);
    const envelope = revision.complaint("JSONRPCResultResponse", message);
    if (envelope || !request) return envelope;
    const { result } = message;
    if (modern && EXTENSION.includes(request.method)) {
        const verb = { get: "GetTask", update: "UpdateTask", cancel: "CancelTask" }[request.method.slice(6)];
        return extensionComplaint(`${verb}ResultV2Schema`, result)
            ?? (result.result && extensionComplaint("CallToolResultV2Schema", result.result));
    }
    if (modern && result.resultType === "task") return extensionComplaint("CreateTaskResultV2Schema", result);
    if (modern && result.resultType === "input_required") return revision.complaint("InputRequiredResult", result);
    if (!modern && request.method === "tools/call" && request.task && result.task)
        return revision.complaint("CreateTaskResult", result);
    // What tasks/result answers is the result of the call that became the task.
    if (request.method === "tasks/result") return revision.complaint("CallToolResult", result);
    const definition = revision.named(request.method, "Request")?.replace(/Request$/, "Result");
    if (definition && revision.has(definition)) return revision.complaint(definition, result);
    // Some results have no members, and no definition of their own.
    return revision.complaint(revision.has("EmptyResult") ? "EmptyResult" : "Result", result);
}

const complaints = new Map();
const counts = {};
for (const file of process.argv.slice(2)) {
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
        const entry = JSON.parse(line);
        const version = entry.version ?? "unknown version";
        counts[version] = (counts[version] ?? 0) + 1;
        const wrong = complaint(entry);
        if (!wrong) continue;
        const key = `${version} ${entry.request?.method ?? entry.message?.method ?? "response"}: ${wrong}`;
        const seen = complaints.get(key);
        complaints.set(key, { count: (seen?.count ?? 0) + 1, first: seen?.first ?? entry.message });
    }
}
const total = Object.values(counts).reduce((a, b) => a + b, 0);
for (const [key, { count, first }] of complaints)
    console.log(`FAIL ${key} (${count} messages), the first: ${JSON.stringify(first)?.slice(0, 1500)}`);
const each = Object.entries(counts).sort().map(([version, count]) => `${count} of ${version}`).join(", ");
console.log(`schemas: ${total} messages validated: ${each}`);
console.log(`${total ? 1 : 0} passed, ${complaints.size + (total ? 0 : 1)} failed, 0 skipped`);
process.exit(complaints.size || !total ? 1 : 0);
