//! What is declared of a tool, a prompt or a resource besides its name and its code: the same for all
//! three, in the code and in what is checked.
//!
//! Tags stand where clients of FastMCP look for them, `_meta.fastmcp.tags`: the protocol has no field of
//! its own for them.

use std::collections::BTreeSet;
use std::fmt;

use outlast_core::RawJson;
use serde_json::{Map, Value, json};

use crate::definition::Need;
use crate::icon::{self, Icon};

/// The member of `_meta` that has the tags.
const TAGS_IN: &str = "fastmcp";

/// What is declared.
#[derive(Clone, Default)]
pub(crate) struct Declared {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) icons: Vec<Icon>,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) meta: Option<RawJson>,
    pub(crate) needs: Vec<Need>,
}

/// What lists say of it.
pub(crate) struct Listed {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) icons: Option<RawJson>,
    pub(crate) meta: Option<RawJson>,
}

impl Declared {
    /// What lists say of `what`, which is how messages call it.
    ///
    /// # Errors
    /// An icon, a tag or `_meta` is none that clients could read; the sentence says which.
    pub(crate) fn settle(self, what: impl fmt::Display) -> Result<Listed, String> {
        let icons = icon::icons(&self.icons).map_err(|why| format!("{what}: {why}"))?;
        if self
            .tags
            .iter()
            .any(|tag| tag.trim() != tag || tag.is_empty())
        {
            return Err(format!(
                "{what}: a tag is empty or begins or ends with a space; write a word"
            ));
        }
        let meta = self.meta.as_ref().map(RawJson::to_value);
        if meta.as_ref().is_some_and(|meta| !meta.is_object()) {
            return Err(format!("{what}: its _meta must be an object"));
        }
        let meta = if self.tags.is_empty() {
            self.meta
        } else {
            Some(with_tags(meta, &self.tags).into())
        };
        Ok(Listed {
            title: self.title,
            description: self.description,
            icons,
            meta,
        })
    }
}

fn with_tags(meta: Option<Value>, tags: &BTreeSet<String>) -> Value {
    let mut meta = meta.unwrap_or_else(|| Value::Object(Map::new()));
    if !meta[TAGS_IN].is_object() {
        meta[TAGS_IN] = json!({});
    }
    meta[TAGS_IN]["tags"] = json!(tags);
    meta
}

/// Which tags let something through.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TagFilter {
    /// At least one of these, if there are any.
    pub(crate) include: Vec<String>,
    /// None of these.
    pub(crate) exclude: Vec<String>,
}

impl TagFilter {
    pub(crate) fn admits(&self, tags: &BTreeSet<String>) -> bool {
        let has = |wanted: &[String]| wanted.iter().any(|tag| tags.contains(tag));
        (self.include.is_empty() || has(&self.include)) && !has(&self.exclude)
    }
}

/// The builder methods, for a type with the field `declared`. What it is for is said in its own words.
macro_rules! declares {
    ($description:literal) => {
        /// Sets a name for people.
        pub fn title(mut self, title: impl Into<String>) -> Self {
            self.declared.title = Some(title.into());
            self
        }

        #[doc = $description]
        pub fn description(mut self, description: impl Into<String>) -> Self {
            self.declared.description = Some(description.into());
            self
        }

        /// Adds an icon, which clients of 2025-11-25 and later may show. A server with one that they would
        /// refuse does not start.
        pub fn icon(mut self, icon: impl Into<crate::Icon>) -> Self {
            self.declared.icons.push(icon.into());
            self
        }

        /// Adds a tag, by which a server offers some of what it has and not the rest
        /// ([`crate::Server::include_tags`], [`crate::Server::exclude_tags`]). Clients see the tags as
        /// `_meta.fastmcp.tags`.
        pub fn tag(mut self, tag: impl Into<String>) -> Self {
            self.declared.tags.insert(tag.into());
            self
        }

        /// Sets its own `_meta`, an object.
        pub fn meta(mut self, meta: impl Into<outlast_core::RawJson>) -> Self {
            self.declared.meta = Some(meta.into());
            self
        }

        /// Says that its code takes this state, so that a server without it does not start. `S` is
        /// written as [`crate::State`] of the type.
        pub fn needs<S: crate::StateOf>(mut self) -> Self {
            self.declared.needs.push(crate::definition::Need::of::<S>());
            self
        }

        pub(crate) fn declared(&self) -> &crate::declared::Declared {
            &self.declared
        }
    };
}

pub(crate) use declares;

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(declared: Declared) -> Result<Listed, String> {
        declared.settle("the tool \"t\"")
    }

    #[test]
    fn tags_stand_beside_what_else_is_in_meta() {
        let tags = ["b".to_owned(), "a".to_owned()];
        let declared = |meta: Option<Value>| Declared {
            tags: tags.iter().cloned().collect(),
            meta: meta.map(Into::into),
            ..Declared::default()
        };
        let meta = |meta| settled(declared(meta)).unwrap().meta.unwrap().to_value();
        assert_eq!(meta(None), json!({"fastmcp": {"tags": ["a", "b"]}}));
        assert_eq!(
            meta(Some(json!({"x/y": 1, "fastmcp": {"version": "2"}}))),
            json!({"x/y": 1, "fastmcp": {"version": "2", "tags": ["a", "b"]}})
        );
        let none = settled(Declared::default()).unwrap();
        assert!(none.meta.is_none() && none.icons.is_none());
    }

    #[test]
    fn what_clients_could_not_read_is_refused() {
        let refused = |declared| settled(declared).err().unwrap();
        let tag = |tag: &str| Declared {
            tags: [tag.to_owned()].into(),
            ..Declared::default()
        };
        assert!(refused(tag("")).starts_with("the tool \"t\": a tag is empty"));
        assert!(refused(tag(" a")).contains("a tag is empty"));
        let meta = Declared {
            meta: Some(json!([1]).into()),
            ..Declared::default()
        };
        assert!(refused(meta).contains("_meta must be an object"));
        let icon = Declared {
            icons: vec![Icon::new("http://example.com/i.png")],
            ..Declared::default()
        };
        assert!(refused(icon).contains("https:"));
    }

    #[test]
    fn excluding_wins_over_including() {
        let filter = |include: &[&str], exclude: &[&str]| TagFilter {
            include: include.iter().map(ToString::to_string).collect(),
            exclude: exclude.iter().map(ToString::to_string).collect(),
        };
        let tags = |tags: &[&str]| tags.iter().map(ToString::to_string).collect();
        for (include, exclude, of, admitted) in [
            (&[][..], &[][..], &[][..], true),
            (&["a"], &[], &[], false),
            (&["a"], &[], &["a", "b"], true),
            (&["a"], &["b"], &["a", "b"], false),
            (&[], &["b"], &["a"], true),
            (&[], &["b"], &["b"], false),
        ] {
            let filter = filter(include, exclude);
            assert_eq!(filter.admits(&tags(of)), admitted, "{filter:?} and {of:?}");
        }
    }
}
