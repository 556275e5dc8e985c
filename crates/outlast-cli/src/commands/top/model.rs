//! What the view shows and what its keys do, without a terminal: everything here is a function of what the
//! server said and of what was pressed.

use std::collections::HashMap;
use std::time::Instant;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use outlast_core::TaskStatus;
use outlast_mcp::client::TaskInfo;
use serde_json::Value;

use super::super::client::pace::Pace;

/// Which tasks are shown: pressed through one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Show {
    #[default]
    All,
    Unfinished,
    Asking,
    Failed,
}

impl Show {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Unfinished => "unfinished",
            Self::Asking => "asking",
            Self::Failed => "failed",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::All => Self::Unfinished,
            Self::Unfinished => Self::Asking,
            Self::Asking => Self::Failed,
            Self::Failed => Self::All,
        }
    }

    /// The words of `outlast/tasks` that are asked for; none is all.
    pub(super) fn standings(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Unfinished => &["working", "input_required"],
            Self::Asking => &["input_required"],
            Self::Failed => &["error", "failed"],
        }
    }
}

/// What the keys are for at present.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Mode {
    #[default]
    List,
    /// A text is written that tasks are found by.
    Find(String),
    /// A task is open, with the end of its log.
    Open { id: String, log: String },
    /// Whether this task is to be cancelled.
    Confirm(String),
}

/// What is to be done besides showing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    None,
    Quit,
    /// Something else is asked of the server now.
    Look,
    Cancel(String),
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) overview: Value,
    pub(super) tasks: Vec<TaskInfo>,
    pub(super) paces: HashMap<String, Pace>,
    pub(super) selected: usize,
    pub(super) show: Show,
    pub(super) text: String,
    pub(super) mode: Mode,
    /// Why what is shown is not what is there now.
    pub(super) away: Option<String>,
    /// What came of the last thing that was done.
    pub(super) said: Option<String>,
}

impl Model {
    /// Takes what the server said.
    pub(super) fn take(&mut self, overview: Value, tasks: Vec<TaskInfo>, now: Instant) {
        let id = self.chosen().map(|task| task.id.clone());
        self.paces
            .retain(|id, _| tasks.iter().any(|task| task.id == *id));
        for task in &tasks {
            if task.status == TaskStatus::Working {
                let pace = self.paces.entry(task.id.clone()).or_default();
                pace.look(task.progress.done, now);
            }
        }
        // The same task stays chosen wherever it has gone in the list.
        let place = id.and_then(|id| tasks.iter().position(|task| task.id == id));
        self.selected = place.unwrap_or(self.selected);
        self.overview = overview;
        self.tasks = tasks;
        self.away = None;
        self.keep_inside();
    }

    pub(super) fn chosen(&self) -> Option<&TaskInfo> {
        self.tasks.get(self.selected)
    }

    fn keep_inside(&mut self) {
        self.selected = self.selected.min(self.tasks.len().saturating_sub(1));
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: KeyEvent) -> Action {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Action::Quit;
        }
        match self.mode.clone() {
            Mode::List => self.in_list(key.code),
            Mode::Find(text) => self.in_find(key.code, text),
            Mode::Open { id, .. } => self.in_open(key.code, id),
            Mode::Confirm(id) => {
                self.mode = Mode::List;
                match key.code {
                    KeyCode::Char('y' | 'Y') => Action::Cancel(id),
                    _ => Action::None,
                }
            }
        }
    }

    fn in_list(&mut self, key: KeyCode) -> Action {
        const LEAP: usize = 10;
        self.said = None;
        match key {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(LEAP),
            KeyCode::PageDown => self.selected += LEAP,
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = usize::MAX,
            KeyCode::Char('f') => {
                self.show = self.show.next();
                return Action::Look;
            }
            KeyCode::Char('/') => self.mode = Mode::Find(self.text.clone()),
            KeyCode::Esc if !self.text.is_empty() => {
                self.text.clear();
                return Action::Look;
            }
            KeyCode::Enter => {
                if let Some(task) = self.chosen() {
                    self.mode = Mode::Open {
                        id: task.id.clone(),
                        log: String::new(),
                    };
                    return Action::Look;
                }
            }
            KeyCode::Char('c') => match self.chosen() {
                Some(task) if task.status.is_terminal() => {
                    self.said = Some("that task has ended".to_owned());
                }
                Some(task) => self.mode = Mode::Confirm(task.id.clone()),
                None => {}
            },
            _ => {}
        }
        self.keep_inside();
        Action::None
    }

    fn in_find(&mut self, key: KeyCode, mut text: String) -> Action {
        match key {
            KeyCode::Enter => {
                self.text = text;
                self.mode = Mode::List;
                return Action::Look;
            }
            KeyCode::Esc => {
                self.mode = Mode::List;
                return Action::None;
            }
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(c) => text.push(c),
            _ => {}
        }
        self.mode = Mode::Find(text);
        Action::None
    }

    fn in_open(&mut self, key: KeyCode, id: String) -> Action {
        match key {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') | KeyCode::Left => {
                self.mode = Mode::List;
            }
            KeyCode::Char('c') => {
                let running = self
                    .tasks
                    .iter()
                    .any(|task| task.id == id && !task.status.is_terminal());
                if running {
                    self.mode = Mode::Confirm(id);
                }
            }
            _ => {}
        }
        Action::None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn task(id: &str, status: &str, progress: Option<(f64, f64)>) -> TaskInfo {
        let mut meta = json!({"outlast/tool": "build", "outlast/phase": "running"});
        if let Some((done, total)) = progress {
            meta["outlast/progress"] = json!({"done": done, "total": total});
        }
        let task = json!({"taskId": id, "status": status, "createdAt": "2026-07-28T12:00:00Z",
                          "statusMessage": "at work", "_meta": meta});
        TaskInfo::read(task.into()).unwrap()
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn the_same_task_stays_chosen() {
        let mut model = Model::default();
        let now = Instant::now();
        model.take(
            json!({}),
            vec![task("a", "working", None), task("b", "working", None)],
            now,
        );
        assert_eq!(model.press(key(KeyCode::Down)), Action::None);
        assert_eq!(model.press(key(KeyCode::Down)), Action::None);
        assert_eq!(model.chosen().unwrap().id, "b");
        let more = ["c", "a", "b"].map(|id| task(id, "working", None));
        model.take(json!({}), more.to_vec(), now);
        assert_eq!(model.chosen().unwrap().id, "b");
        model.take(json!({}), vec![task("c", "failed", None)], now);
        assert_eq!(model.chosen().unwrap().id, "c");
    }

    #[test]
    fn nothing_is_cancelled_without_a_yes() {
        let mut model = Model::default();
        let tasks = vec![task("a", "working", None), task("b", "completed", None)];
        model.take(json!({}), tasks, Instant::now());
        model.press(key(KeyCode::Char('c')));
        assert_eq!(model.mode, Mode::Confirm("a".into()));
        assert_eq!(model.press(key(KeyCode::Char('n'))), Action::None);
        assert_eq!(model.mode, Mode::List);
        model.press(key(KeyCode::Char('c')));
        assert_eq!(
            model.press(key(KeyCode::Char('y'))),
            Action::Cancel("a".into())
        );
        model.press(key(KeyCode::End));
        model.press(key(KeyCode::Char('c')));
        assert!(model.said.as_ref().unwrap().contains("ended"));
    }

    #[test]
    fn tasks_are_found_and_opened() {
        let mut model = Model::default();
        model.take(json!({}), vec![task("a", "working", None)], Instant::now());
        for code in [
            KeyCode::Char('/'),
            KeyCode::Char('q'),
            KeyCode::Char('x'),
            KeyCode::Backspace,
        ] {
            assert_eq!(model.press(key(code)), Action::None);
        }
        assert_eq!(model.press(key(KeyCode::Enter)), Action::Look);
        assert_eq!(model.text, "q");
        assert_eq!(model.press(key(KeyCode::Esc)), Action::Look);
        assert_eq!(model.text, "");
        assert_eq!(model.press(key(KeyCode::Char('f'))), Action::Look);
        assert_eq!(model.show.standings(), ["working", "input_required"]);
        assert_eq!(model.press(key(KeyCode::Enter)), Action::Look);
        assert!(matches!(model.mode, Mode::Open { .. }));
        assert_eq!(model.press(key(KeyCode::Char('q'))), Action::None);
        assert_eq!(model.press(key(KeyCode::Char('q'))), Action::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(model.press(interrupt), Action::Quit);
    }
}
