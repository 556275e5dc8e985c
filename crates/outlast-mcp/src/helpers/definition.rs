//! What each helper tool says about itself.

use crate::protocol::Version;
use crate::wire::Object;

/// A helper tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Helper {
    Wait,
    Status,
    Result,
    Cancel,
    List,
    Answer,
}

impl Helper {
    /// All of them, in the order of the list.
    pub(crate) const ALL: [Self; 6] = [
        Self::Answer,
        Self::Cancel,
        Self::List,
        Self::Result,
        Self::Status,
        Self::Wait,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|helper| helper.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wait => "task_wait",
            Self::Status => "task_status",
            Self::Result => "task_result",
            Self::Cancel => "task_cancel",
            Self::List => "task_list",
            Self::Answer => "task_answer",
        }
    }

    /// Whether it changes nothing.
    pub(crate) fn only_looks(self) -> bool {
        match self {
            Self::Wait | Self::Status | Self::Result | Self::List => true,
            Self::Cancel | Self::Answer => false,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Wait => "Wait for a task",
            Self::Status => "Look at a task",
            Self::Result => "Get a task's result",
            Self::Cancel => "Cancel a task",
            Self::List => "List tasks",
            Self::Answer => "Answer a task's question",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Wait => {
                "Waits up to 25 seconds for a task and returns its result if it ends in that time, \
                 else how far it is; then call task_wait again. Waiting changes nothing: the task \
                 runs on by itself, and its result is kept, also for a later conversation."
            }
            Self::Status => "Says at once how far a task is, and whether it asks anything.",
            Self::Result => {
                "Returns the result of a task that has ended, as often as you like. Does not wait; \
                 use task_wait for that."
            }
            Self::Cancel => "Stops a task. What it has done so far is not undone by this.",
            Self::List => "Lists the tasks of this owner, the latest first.",
            Self::Answer => {
                "Answers a question of a task, where task_status or task_wait says that you may. \
                 Questions for people cannot be answered this way."
            }
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Self::Wait => {
                r#"{"type":"object","properties":{"taskId":{"type":"string","description":"The id that the call returned."},"seconds":{"type":"number","minimum":0,"maximum":25,"description":"How long to wait at most; 25 if absent."}},"required":["taskId"],"additionalProperties":false}"#
            }
            Self::Status | Self::Result | Self::Cancel => {
                r#"{"type":"object","properties":{"taskId":{"type":"string","description":"The id that the call returned."}},"required":["taskId"],"additionalProperties":false}"#
            }
            Self::List => {
                r#"{"type":"object","properties":{"unfinished":{"type":"boolean","description":"Only tasks that have not ended."},"limit":{"type":"integer","minimum":1,"maximum":100,"description":"How many at most; 20 if absent."}},"additionalProperties":false}"#
            }
            Self::Answer => {
                r#"{"type":"object","properties":{"taskId":{"type":"string","description":"The id of the task that asks."},"key":{"type":"string","description":"The key of the question."},"action":{"type":"string","enum":["accept","decline","cancel"],"description":"accept if absent."},"content":{"type":"object","description":"For accept: the answer, fitting the question's schema."}},"required":["taskId","key"],"additionalProperties":false}"#
            }
        }
    }

    fn annotations(self) -> &'static str {
        match self {
            Self::Wait | Self::Status | Self::Result | Self::List => {
                r#"{"readOnlyHint":true,"openWorldHint":false}"#
            }
            Self::Cancel => {
                r#"{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true,"openWorldHint":false}"#
            }
            Self::Answer => {
                r#"{"readOnlyHint":false,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false}"#
            }
        }
    }
}

/// The entry of a helper in `tools/list`.
pub(crate) fn write(out: &mut Vec<u8>, helper: Helper, version: Version) {
    let mut object = Object::new(out);
    object.plain("name", helper.name());
    if version.has_structured_content() {
        object.plain("title", helper.title());
    }
    object
        .text("description", helper.description())
        .raw("inputSchema", helper.schema());
    if version.has_annotations() {
        object.raw("annotations", helper.annotations());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_json_with_a_closed_schema() {
        for helper in Helper::ALL {
            let mut out = Vec::new();
            write(&mut out, helper, Version::V2026_07_28);
            let entry: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(Helper::named(entry["name"].as_str().unwrap()), Some(helper));
            let schema = &entry["inputSchema"];
            assert_eq!(schema["additionalProperties"], false, "{helper:?}");
            assert!(jsonschema::validator_for(schema).is_ok());
        }
        let names = Helper::ALL.map(Helper::name);
        assert!(names.is_sorted(), "the list is in the order of names");
    }
}
