//! The view as lines, for a terminal of any size: what matters less is left out where there is no room.

use std::collections::BTreeMap;

use outlast_core::{Era, Standing, TaskStatus, Timestamp};
use outlast_mcp::client::TaskInfo;
use serde_json::Value;

use super::super::call::short as short_id;
use super::super::client::out::status_colour;
use super::super::client::pace::short;
use super::line::{Line, Style, cut, padded};
use super::model::{Mode, Model, Show};

/// The widths of the columns.
const ID: usize = 10;
const TOOL: usize = 16;
const STATE: usize = 15;
const PROGRESS: usize = 24;
const AGE: usize = 8;

/// The whole screen.
pub(super) fn screen(model: &Model, width: usize, height: usize) -> Vec<Line> {
    let mut lines = head(model);
    let foot = foot(model);
    let room = height.saturating_sub(lines.len() + 1);
    match &model.mode {
        Mode::Open { id, log } => lines.extend(open(model, id, log, room)),
        _ => lines.extend(list(model, width, room)),
    }
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(foot);
    lines.into_iter().map(|line| line.fitted(width)).collect()
}

fn head(model: &Model) -> Vec<Line> {
    let overview = &model.overview;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut first = Line::of(Style::Bold, text(&overview["server"]["name"]));
    let since = between(&overview["worker"]["since"], &overview["now"]);
    let up = since.map_or_else(String::new, |since| format!("  up {since}"));
    first.push(Style::Plain, up);
    first.push(Style::Dim, format!("  {}", text(&overview["store"])));
    let mut second = Line::default();
    let counts = counts(overview, "standing");
    for status in [
        TaskStatus::Working,
        TaskStatus::InputRequired,
        TaskStatus::Completed,
        TaskStatus::Failed,
        TaskStatus::Cancelled,
    ] {
        // For people, a tool's own error is a failure.
        let count: u64 = Standing::with_status(status, Era::Legacy)
            .filter_map(|standing| counts.get(standing.as_str()))
            .sum();
        let style = if count == 0 {
            Style::Dim
        } else {
            Style::Colour(status_colour(status))
        };
        second.push(style, format!("{} {count}", status.as_str()));
        second.push(Style::Plain, "  ");
    }
    let workers: Vec<_> = overview["workers"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let all = |name: &str| -> u64 {
        let of_each = workers.iter().filter_map(|worker| worker[name].as_u64());
        of_each.sum()
    };
    let (slots, taken) = (all("slots"), all("slotsTaken"));
    let several = match workers.len() {
        0 | 1 => String::new(),
        many => format!("workers {many}  "),
    };
    let phases = self::counts(overview, "phase");
    let of = |phase: &str| phases.get(phase).copied().unwrap_or_default();
    let mut third = Line::of(
        Style::Plain,
        format!(
            "{several}slots {taken} of {slots}  queued {}  scheduled {}  blocked {}  suspended {}",
            of("queued"),
            of("scheduled"),
            of("blocked"),
            of("suspended")
        ),
    );
    let paused: Vec<_> = overview["paused"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    if !paused.is_empty() {
        let names = paused.iter().map(|name| match name.as_str() {
            Some("*") => "everything",
            name => name.unwrap_or_default(),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        third.push(Style::Colour(33), format!("  paused: {names}"));
    }
    let mut lines = vec![first, second, third];
    lines.extend(queues(overview));
    match &model.away {
        Some(why) => lines.push(Line::of(
            Style::Colour(31),
            format!("the server is away, what is shown is old: {why}"),
        )),
        None => lines.push(Line::default()),
    }
    lines
}

/// What waits and runs, by tool; nothing where nothing does.
fn queues(overview: &Value) -> Option<Line> {
    let mut tools: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for one in overview["counts"].as_array().into_iter().flatten() {
        let (tool, count) = (one["tool"].as_str()?, one["count"].as_u64()?);
        let place = match one["phase"].as_str()? {
            "running" => 0,
            "queued" => 1,
            _ => continue,
        };
        tools.entry(tool).or_default()[place] += count;
    }
    let mut busiest: Vec<_> = tools.into_iter().collect();
    busiest.sort_by_key(|(_, [running, queued])| std::cmp::Reverse(running + queued));
    let words = busiest
        .iter()
        .map(|(tool, [running, queued])| match queued {
            0 => format!("{tool} {running}"),
            _ => format!("{tool} {running}+{queued}"),
        });
    let words = words.collect::<Vec<_>>().join("  ");
    (!words.is_empty()).then(|| Line::of(Style::Dim, format!("running+queued  {words}")))
}

fn counts<'v>(overview: &'v Value, by: &str) -> BTreeMap<&'v str, u64> {
    let mut counts = BTreeMap::new();
    for one in overview["counts"].as_array().into_iter().flatten() {
        if let (Some(key), Some(count)) = (one[by].as_str(), one["count"].as_u64()) {
            *counts.entry(key).or_default() += count;
        }
    }
    counts
}

fn between(from: &Value, until: &Value) -> Option<String> {
    let moment = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    Some(short(moment(until)?.since(moment(from)?)))
}

/// Which columns there is room for besides the task and its state.
struct Columns {
    tool: bool,
    progress: bool,
    age: bool,
    message: bool,
}

impl Columns {
    fn of(width: usize) -> Self {
        Self {
            tool: width >= 40,
            progress: width >= 64,
            age: width >= 72,
            message: width >= 90,
        }
    }
}

fn list(model: &Model, width: usize, room: usize) -> Vec<Line> {
    let columns = Columns::of(width);
    let mut head = padded("TASK", ID);
    if columns.tool {
        head.push_str(&padded("TOOL", TOOL));
    }
    head.push_str(&padded("STATE", STATE));
    for (there, name, wide) in [
        (columns.progress, "PROGRESS", PROGRESS),
        (columns.age, "AGE", AGE),
        (columns.message, "MESSAGE", 7),
    ] {
        if there {
            head.push_str(&padded(name, wide));
        }
    }
    let mut lines = vec![Line::of(Style::Bold, head)];
    if model.tasks.is_empty() {
        let nothing = if model.text.is_empty() && model.show == Show::All {
            "no tasks yet; outlast call TOOL --task makes one"
        } else {
            "no such tasks"
        };
        lines.push(Line::of(Style::Dim, nothing));
    }
    let rows = room.saturating_sub(1).max(1);
    // The chosen one is always in sight.
    let from = model.selected.saturating_sub(rows - 1);
    for (index, task) in model.tasks.iter().enumerate().skip(from).take(rows) {
        let line = row(model, task, &columns);
        lines.push(if index == model.selected {
            line.fitted(width).selected(width)
        } else {
            line
        });
    }
    lines
}

fn row(model: &Model, task: &TaskInfo, columns: &Columns) -> Line {
    let meta = &task.raw.to_value()["_meta"];
    let mut line = Line::of(Style::Plain, padded(short_id(&task.id), ID));
    if columns.tool {
        let tool = task.tool.as_deref().unwrap_or_default();
        line.push(Style::Plain, padded(&cut(tool, TOOL - 1), TOOL));
    }
    // A working task is told by its phase: waiting is not running.
    let state = match task.shown_status() {
        TaskStatus::Working => meta["outlast/phase"].as_str().unwrap_or("working"),
        status => status.as_str(),
    };
    line.push(
        Style::Colour(status_colour(task.shown_status())),
        padded(state, STATE),
    );
    if columns.progress {
        line.push(Style::Plain, padded(&progress(model, task), PROGRESS));
    }
    if columns.age {
        let begun = meta.get("outlast/startedAt");
        let begun = begun.and_then(Value::as_str).unwrap_or(&task.created_at);
        let until = if task.status.is_terminal() {
            Value::from(task.last_updated_at.as_str())
        } else {
            model.overview["now"].clone()
        };
        let age = between(&begun.into(), &until).unwrap_or_default();
        line.push(Style::Plain, padded(&age, AGE));
    }
    if columns.message {
        // A status message repeats the figures.
        let status = task
            .message
            .as_deref()
            .filter(|_| task.progress.percent().is_none());
        let message = task.progress.message.as_deref().or(status);
        let message = message.unwrap_or_default().lines().next();
        line.push(Style::Dim, message.unwrap_or_default());
    }
    line
}

fn progress(model: &Model, task: &TaskInfo) -> String {
    const CELLS: usize = 8;
    let Some(percent) = task.progress.percent() else {
        return String::new();
    };
    // In range by definition.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 8"
    )]
    let full = (percent / 100.0 * CELLS as f64) as usize;
    let bar: String = (0..CELLS)
        .map(|cell| if cell < full { '#' } else { '.' })
        .collect();
    let left = (!task.status.is_terminal())
        .then(|| model.paces.get(&task.id)?.left(&task.progress))
        .flatten();
    let left = left.map_or_else(String::new, |left| format!(" {} left", short(left)));
    format!("{bar} {percent:>3.0}%{left}")
}

fn open(model: &Model, id: &str, log: &str, room: usize) -> Vec<Line> {
    let mut lines = vec![Line::of(Style::Bold, format!("task {id}"))];
    if let Some(task) = model.tasks.iter().find(|task| task.id == id) {
        let mut second = Line::of(
            Style::Colour(status_colour(task.shown_status())),
            task.shown_status().as_str(),
        );
        second.push(
            Style::Plain,
            format!("  {}", task.tool.as_deref().unwrap_or_default()),
        );
        second.push(Style::Plain, format!("  {}", progress(model, task)));
        lines.push(second);
        if let Some(message) = &task.message {
            lines.push(Line::of(Style::Plain, message.clone()));
        }
        if task.status == TaskStatus::InputRequired {
            lines.push(Line::of(
                Style::Colour(33),
                format!("outlast tasks answer {id}"),
            ));
        }
    }
    lines.push(Line::default());
    let rows = room.saturating_sub(lines.len());
    let log: Vec<_> = log.lines().collect();
    let from = log.len().saturating_sub(rows);
    lines.extend(log[from..].iter().map(|line| Line::of(Style::Plain, *line)));
    lines
}

fn foot(model: &Model) -> Line {
    match &model.mode {
        Mode::Confirm(id) => Line::of(
            Style::Colour(33),
            format!(
                "cancel task {}? y cancels it, any other key does not",
                short_id(id)
            ),
        ),
        Mode::Find(text) => Line::of(
            Style::Bold,
            format!("find: {text}_   enter finds, esc leaves"),
        ),
        Mode::Open { .. } => Line::of(Style::Dim, "esc back  c cancel  ctrl-c quit"),
        Mode::List => {
            let mut line = Line::default();
            if let Some(said) = &model.said {
                line.push(Style::Bold, format!("{said}  "));
            }
            if !model.text.is_empty() {
                line.push(Style::Bold, format!("{:?}  ", model.text));
            }
            line.push(
                Style::Dim,
                format!(
                    "q quit  enter open  c cancel  / find  f show: {}  ↑↓ move",
                    model.show.word()
                ),
            );
            line
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;
    use unicode_width::UnicodeWidthStr;

    use super::super::model::tests::task;
    use super::*;

    fn model() -> Model {
        let overview = json!({
            "server": {"name": "samples", "version": "1"}, "store": "/a/outlast.db",
            "worker": {"since": "2026-07-28T12:00:00Z"},
            "workers": [{"slots": 64, "slotsTaken": 2}, {"slots": 8, "slotsTaken": 1}],
            "now": "2026-07-28T13:01:00Z", "paused": ["*"],
            "counts": [
                {"tool": "build", "phase": "running", "standing": "working", "count": 2},
                {"tool": "build", "phase": "queued", "standing": "working", "count": 5},
                {"tool": "x", "phase": "finished", "standing": "error", "count": 3},
            ],
        });
        let mut model = Model::default();
        let begun = Instant::now();
        let at = |done| {
            vec![
                task("1a2b3c4d-0", "working", Some((done, 100.0))),
                task("5e6f7a8b-0", "input_required", None),
            ]
        };
        model.take(overview.clone(), at(0.0), begun);
        model.take(overview, at(50.0), begun + Duration::from_secs(50));
        model
    }

    fn text(model: &Model, width: usize, height: usize) -> String {
        let lines = screen(model, width, height);
        assert_eq!(lines.len(), height);
        let texts: Vec<_> = lines.iter().map(Line::text).collect();
        for line in &texts {
            assert!(line.width() <= width, "{line:?}");
        }
        texts.join("\n")
    }

    #[test]
    fn a_wide_screen_has_everything() {
        let text = text(&model(), 120, 24);
        for part in [
            "samples  up 1h01m",
            "working 7  input_required 0  completed 0  failed 3",
            "workers 2  slots 3 of 72  queued 5",
            "paused: everything",
            "running+queued  build 2+5",
            "1a2b3c4d  build           running        ####....  50% 50s left",
            "input_required",
            "at work",
            "q quit",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_narrow_or_tiny_screen_shows_what_matters() {
        let narrow = text(&model(), 40, 12);
        assert!(narrow.contains("1a2b3c4d  build"), "{narrow}");
        assert!(!narrow.contains("left"), "{narrow}");
        for (width, height) in [(1, 1), (10, 3), (20, 2), (300, 100)] {
            text(&model(), width, height);
        }
        let mut many = model();
        let tasks = (0..100)
            .map(|n| task(&format!("t{n}"), "working", None))
            .collect();
        many.take(json!({}), tasks, Instant::now());
        many.selected = 99;
        assert!(
            text(&many, 40, 12).contains("t99"),
            "the chosen one is in sight"
        );
    }

    #[test]
    fn an_open_task_shows_the_end_of_its_log() {
        let mut model = model();
        let log: String = (0..100).map(|n| format!("line {n}\n")).collect();
        model.mode = Mode::Open {
            id: "1a2b3c4d-0".into(),
            log,
        };
        let text = text(&model, 60, 20);
        assert!(
            text.contains("line 99") && !text.contains("line 50"),
            "{text}"
        );
        model.mode = Mode::Confirm("1a2b3c4d-0".into());
        assert!(self::text(&model, 60, 20).contains("cancel task 1a2b3c4d?"));
        model.away = Some("gone".into());
        assert!(self::text(&model, 60, 20).contains("the server is away"));
    }
}
