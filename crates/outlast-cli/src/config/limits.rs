//! The keys about what a command may use and what it inherits, in `[defaults]` and in each tool.

use super::section::{Section, kind};
use crate::command::Inherited;
use crate::command::limits::{Limits, bytes};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// The keys that are read here.
pub(super) const KEYS: [&str; 5] = [
    "max_memory",
    "max_cpu_time",
    "max_processes",
    "max_output",
    "inherit_env",
];

/// The word of a tool for which a limit of `[defaults]` does not hold.
const UNLIMITED: &str = "unlimited";

/// Less than the first starts no program, more than the other no machine has.
const MEMORY: RangeInclusive<u64> = 8 << 20..=1 << 50;

/// A limit of output ends a command; it is no way to shorten what is shown of it.
const OUTPUT: RangeInclusive<u64> = 1 << 10..=1 << 50;

/// The most processes that can be a limit.
const MOST_PROCESSES: u64 = 1_000_000;

/// What holds for tools that do not say otherwise, and what they say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bounds {
    pub(super) limits: Limits,
    pub(super) inherited: Inherited,
}

/// Reads `[defaults]`.
pub(super) fn defaults(root: &Section<'_>) -> Bounds {
    let Some((span, table)) = root.table("defaults") else {
        return Bounds::default();
    };
    let section = Section::open("defaults".to_owned(), span, table, root.problems(), &KEYS);
    read(&section, &Bounds::default())
}

/// Reads the keys of a table, on top of what holds without them.
pub(super) fn read(section: &Section<'_>, above: &Bounds) -> Bounds {
    let mut limits = above.limits;
    if section.has("max_memory") {
        limits.memory = unless_unlimited(section, "max_memory", |section, key| {
            size_within(section, key, &MEMORY)
        });
    }
    if section.has("max_cpu_time") {
        limits.cpu_seconds = unless_unlimited(section, "max_cpu_time", cpu_seconds);
    }
    if section.has("max_processes") {
        limits.processes = unless_unlimited(section, "max_processes", processes);
    }
    if section.has("max_output") {
        limits.output = unless_unlimited(section, "max_output", |section, key| {
            size_within(section, key, &OUTPUT)
        });
    }
    let inherited = inherited(section).map(|inherited| Inherited {
        never: above.inherited.never.clone(),
        ..inherited
    });
    Bounds {
        limits,
        inherited: inherited.unwrap_or_else(|| above.inherited.clone()),
    }
}

fn unless_unlimited<T>(
    section: &Section<'_>,
    key: &str,
    read: impl FnOnce(&Section<'_>, &str) -> Option<T>,
) -> Option<T> {
    let given = section.get(key)?.get_ref();
    (given.as_str() != Some(UNLIMITED))
        .then(|| read(section, key))
        .flatten()
}

fn size_within(section: &Section<'_>, key: &str, range: &RangeInclusive<u64>) -> Option<u64> {
    let text = section.text(key)?;
    let wrong = |why: String| {
        let allowed = format!(
            "allowed: {} to {}, as \"512MiB\" or \"2GiB\", or \"{UNLIMITED}\"",
            bytes(*range.start()),
            bytes(*range.end())
        );
        section.wrong(key, format!("\"{text}\" {why}; {allowed}"));
    };
    let Some(size) = size(&text) else {
        wrong("is not a size".into());
        return None;
    };
    if !range.contains(&size) {
        wrong("is out of range".into());
        return None;
    }
    Some(size)
}

/// Reads `512MiB`.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn cpu_seconds(section: &Section<'_>, key: &str) -> Option<u64> {
    let time = super::spans::limit(section, key)?;
    if time.subsec_nanos() != 0 || time < Duration::from_secs(1) {
        section.wrong(
            key,
            "processor time is counted in whole seconds; allowed: 1s to 30d",
        );
        return None;
    }
    Some(time.as_secs())
}

fn processes(section: &Section<'_>, key: &str) -> Option<u32> {
    if !cfg!(target_os = "linux") {
        section.wrong(
            key,
            "this system does not tell who started whom; leave the key out",
        );
        return None;
    }
    let number = section.count(key, MOST_PROCESSES)?;
    if number == 0 {
        section.wrong(
            key,
            format!("0 would let nothing run; allowed: 1 to {MOST_PROCESSES}, or \"{UNLIMITED}\""),
        );
        return None;
    }
    u32::try_from(number).ok()
}

fn inherited(section: &Section<'_>) -> Option<Inherited> {
    const KEY: &str = "inherit_env";
    match section.get(KEY)?.get_ref() {
        DeValue::Boolean(true) => Some(Inherited::default()),
        DeValue::Boolean(false) => Some(Inherited::basic()),
        DeValue::Array(_) => {
            let mut names = Vec::new();
            for (name, span) in section.strings(KEY)? {
                let plain = name.strip_suffix('*').unwrap_or(&name);
                if name.is_empty() || plain.contains(['=', '\0', '*']) {
                    let message = format!(
                        "\"{name}\" is not a name for a variable; a * may stand at its end"
                    );
                    section.wrong_at(span, KEY, message);
                }
                names.push(name);
            }
            Some(Inherited::these(names))
        }
        other => {
            section.wrong(
                KEY,
                format!(
                    "{} where true, false or a list of names is needed, as [\"PATH\", \"AWS_*\"]",
                    kind(other)
                ),
            );
            None
        }
    }
}
