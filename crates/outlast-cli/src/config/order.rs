//! The keys of `[tools.NAME]` that say when its tasks run: priority, limits, rates, quotas, sameness.

use std::time::Duration;

use outlast_core::limit::Rate;
use outlast_core::same::Then;
use outlast_engine::{Order, Per, check_priority};

use super::argument::Argument;
use super::section::Section;
use super::spans::up_to;

/// The keys that are read here.
pub(super) const KEYS: [&str; 14] = [
    "priority",
    "max_running",
    "limit_key",
    "max_running_per_key",
    "max_running_per_owner",
    "hold_while_suspended",
    "rate",
    "rate_per_owner",
    "max_queued",
    "max_queued_per_owner",
    "same",
    "same_key",
    "debounce",
    "key_window",
];

/// The most that a limit can be; whoever wants more wants no limit.
const MOST: u64 = 1_000_000;

/// The longest delay and the longest memory for a key.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The keys of `[limits]`, which hold for all tools together.
const SHARED: [&str; 6] = [
    "max_running",
    "max_running_per_owner",
    "rate",
    "rate_per_owner",
    "max_queued",
    "max_queued_per_owner",
];

/// Reads `[limits]`.
pub(super) fn shared(root: &Section<'_>) -> Order {
    let Some((span, table)) = root.table("limits") else {
        return Order::new();
    };
    let section = Section::open("limits".to_owned(), span, table, root.problems(), &SHARED);
    let mut order = Order::new();
    if let Some(max) = at_least_one(&section, "max_running") {
        order = order.max_running(max);
    }
    read_common(&section, order)
}

/// Reads them. A key that names an argument must name one of `arguments`.
pub(super) fn read(section: &Section<'_>, arguments: &[Argument]) -> Order {
    let mut order = Order::new();
    if let Some(number) = section.integer("priority") {
        match check_priority(number) {
            Ok(priority) => order = order.priority(priority),
            Err(wrong) => section.wrong("priority", wrong),
        }
    }
    if let Some(max) = at_least_one(section, "max_running") {
        order = order.max_running(max);
    }
    let per_key = at_least_one(section, "max_running_per_key");
    match argument(section, "limit_key", arguments) {
        Some(per) => order = order.max_running_per(per_key.unwrap_or(1), per),
        None if per_key.is_some() && !section.has("limit_key") => section.wrong(
            "max_running_per_key",
            "needs the argument that is the key: limit_key = \"NAME\"",
        ),
        None => {}
    }
    order = read_common(section, order);
    if section.boolean("hold_while_suspended") == Some(true) {
        order = order.hold_while_suspended();
    }
    if let Some(window) = up_to(section, "key_window", LONGEST) {
        order = order.key_window(window);
    }
    read_same(section, order, arguments)
}

/// What a tool and the server as a whole can have alike.
fn read_common(section: &Section<'_>, mut order: Order) -> Order {
    if let Some(max) = at_least_one(section, "max_running_per_owner") {
        order = order.max_running_per(max, Per::Owner);
    }
    if let Some(rate) = rate(section, "rate") {
        order = order.rate(rate);
    }
    if let Some(rate) = rate(section, "rate_per_owner") {
        order = order.rate_per(rate, Per::Owner);
    }
    if let Some(max) = section.count("max_queued", MOST) {
        order = order.max_queued(max);
    }
    if let Some(max) = section.count("max_queued_per_owner", MOST) {
        order = order.max_queued_per(max, Per::Owner);
    }
    order
}

fn read_same(section: &Section<'_>, order: Order, arguments: &[Argument]) -> Order {
    let then = section.choice("same", &[("join", Then::Join), ("replace", Then::Replace)]);
    let debounce = up_to(section, "debounce", LONGEST).map(|delay| Then::Debounce {
        delay,
        at_most: None,
    });
    if then.is_some() && debounce.is_some() {
        section.wrong(
            "debounce",
            "stands beside same, and both say what becomes of a call like another; keep one",
        );
    }
    let by = argument(section, "same_key", arguments);
    match (debounce.or(then), by) {
        (Some(then), Some(per)) => order.same_by(per, then),
        (Some(then), None) => order.same(then),
        (None, Some(_)) => {
            section.wrong(
                "same_key",
                "says which calls are alike, and nothing says what then; add same or debounce",
            );
            order
        }
        (None, None) => order,
    }
}

fn at_least_one(section: &Section<'_>, key: &str) -> Option<u32> {
    let number = section.count(key, MOST)?;
    if number == 0 {
        section.wrong(
            key,
            format!(
                "0 would let nothing run; allowed: 1 to {MOST} (outlast tools pause stops a tool)"
            ),
        );
        return None;
    }
    u32::try_from(number).ok()
}

fn rate(section: &Section<'_>, key: &str) -> Option<Rate> {
    let text = section.text(key)?;
    text.parse()
        .map_err(|wrong: String| section.wrong(key, wrong))
        .ok()
}

fn argument(section: &Section<'_>, key: &str, arguments: &[Argument]) -> Option<Per> {
    let name = section.text(key)?;
    if arguments.iter().any(|argument| argument.name == name) {
        return Some(Per::argument(name));
    }
    let known: Vec<&str> = arguments.iter().map(|one| one.name.as_str()).collect();
    let allowed = if known.is_empty() {
        "the tool has none".to_owned()
    } else {
        format!("allowed: {}", known.join(", "))
    };
    section.wrong(
        key,
        format!("\"{name}\" is no argument of this tool; {allowed}"),
    );
    None
}
