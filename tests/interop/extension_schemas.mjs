// Prints the schemas of the tasks extension as JSON Schema, by name, for the tests that are written in Rust.
//
// The extension's package says them in zod. What JSON Schema cannot say (that members of `_meta` have
// certain names, that a date is one) is left open here; schemas.mjs holds recorded messages to all of it.

import * as tasks from "@modelcontextprotocol/ext-tasks/core/v2";
import { z } from "zod";

const names = ["CreateTaskResult", "GetTaskResult", "UpdateTaskResult", "CancelTaskResult", "TaskStatusNotification"];
const schema = (name) => z.toJSONSchema(tasks[`${name}V2Schema`], { unrepresentable: "any", io: "input" });
console.log(JSON.stringify(Object.fromEntries(names.map((name) => [name, schema(name)]))));
