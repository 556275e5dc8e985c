//! A tool as a server lists it.

use outlast_core::RawJson;
use outlast_engine::TaskSupport;
use serde::Deserialize;

/// An entry of a server's list of tools.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ToolInfo {
    /// The name to call it by.
    pub name: String,
    /// The name to show.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The JSON Schema of its arguments.
    pub input_schema: RawJson,
    /// The JSON Schema of its structured content.
    pub output_schema: Option<RawJson>,
    /// Whether it can be called as a task, where the server says so: 2025-11-25 says it for each
    /// tool, 2026-07-28 for none.
    pub task_support: Option<TaskSupport>,
    /// All of it as it came.
    pub raw: RawJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    input_schema: Option<RawJson>,
    #[serde(default)]
    output_schema: Option<RawJson>,
    #[serde(default)]
    execution: Option<Execution>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    #[serde(default)]
    task_support: Option<String>,
}

impl ToolInfo {
    /// Reads an entry. `legacy_tasks` says whether the version has tasks of 2025-11-25, in which a
    /// tool that says nothing has none.
    ///
    /// # Errors
    /// It is not a tool; the text says why.
    pub(super) fn read(raw: RawJson, legacy_tasks: bool) -> Result<Self, String> {
        let wire: Wire = super::params::object(&raw, "a tool")?;
        let said = wire.execution.and_then(|execution| execution.task_support);
        let task_support = legacy_tasks.then_some(match said.as_deref() {
            Some("required") => TaskSupport::Required,
            Some("optional") => TaskSupport::Optional,
            _ => TaskSupport::Forbidden,
        });
        Ok(Self {
            name: wire.name,
            title: wire.title,
            description: wire.description,
            input_schema: wire.input_schema.unwrap_or_else(RawJson::empty_object),
            output_schema: wire.output_schema,
            task_support,
            raw,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_support_is_what_the_version_says() {
        let raw = RawJson::parse(
            r#"{"name":"a","inputSchema":{},"execution":{"taskSupport":"required"}}"#,
        )
        .unwrap();
        assert_eq!(
            ToolInfo::read(raw.clone(), true).unwrap().task_support,
            Some(TaskSupport::Required)
        );
        assert_eq!(ToolInfo::read(raw, false).unwrap().task_support, None);
        let silent = RawJson::parse(r#"{"name":"a"}"#).unwrap();
        assert_eq!(
            ToolInfo::read(silent, true).unwrap().task_support,
            Some(TaskSupport::Forbidden)
        );
    }
}
