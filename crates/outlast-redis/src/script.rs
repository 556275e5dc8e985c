//! The scripts, and what they are called with.

/// A script; [`sources`] has its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Script {
    Commit,
    /// As `Commit`, also while Redis has reached its `maxmemory`: for what only gives memory back.
    Free,
    Claim,
    Control,
    Open,
    Load,
    Ahead,
    Heartbeat,
    Due,
    List,
    Groups,
    Group,
    Journal,
    Log,
    Signals,
    Stats,
    Record,
    Pulse,
    Strays,
    Forget,
    Replicated,
    Begin,
}

impl Script {
    /// Whether what it writes was asked for by somebody who relies on it. Renewals and signs of life are not:
    /// one that was lost is the same as one that was late.
    pub(crate) fn is_relied_on(self) -> bool {
        matches!(
            self,
            Self::Commit | Self::Free | Self::Claim | Self::Control | Self::Record
        )
    }
}

/// Redis refuses a script with these words as a whole when memory is full. Without them it would stop
/// in the middle of one, at the first command that needs memory.
const WRITES: &str = "#!lua\n";
const FREES: &str = "#!lua flags=allow-oom\n";
const READY: &str = include_str!("lua/ready.lua");
const COMMIT: &str = include_str!("lua/commit.lua");

/// The text of each script.
pub(crate) fn sources() -> [(Script, String); 22] {
    let ready = |head: &str, body: &str| format!("{head}{READY}\n{body}");
    [
        (Script::Commit, ready(WRITES, COMMIT)),
        (Script::Free, ready(FREES, COMMIT)),
        (Script::Claim, ready(WRITES, include_str!("lua/claim.lua"))),
        (
            Script::Control,
            ready(WRITES, include_str!("lua/control.lua")),
        ),
        (Script::Open, ready(FREES, include_str!("lua/open.lua"))),
        (Script::Load, include_str!("lua/load.lua").into()),
        (Script::Ahead, include_str!("lua/ahead.lua").into()),
        (Script::Heartbeat, include_str!("lua/heartbeat.lua").into()),
        (Script::Due, include_str!("lua/due.lua").into()),
        (Script::List, include_str!("lua/list.lua").into()),
        (Script::Groups, include_str!("lua/groups.lua").into()),
        (Script::Group, include_str!("lua/group.lua").into()),
        (Script::Journal, include_str!("lua/journal.lua").into()),
        (Script::Log, include_str!("lua/log.lua").into()),
        (Script::Signals, include_str!("lua/signals.lua").into()),
        (Script::Stats, include_str!("lua/stats.lua").into()),
        (Script::Record, include_str!("lua/record.lua").into()),
        (Script::Pulse, include_str!("lua/pulse.lua").into()),
        (Script::Strays, include_str!("lua/strays.lua").into()),
        (Script::Forget, include_str!("lua/forget.lua").into()),
        (
            Script::Replicated,
            include_str!("lua/replicated.lua").into(),
        ),
        (Script::Begin, include_str!("lua/begin.lua").into()),
    ]
}

/// What a script is called with, end to end: words, and lists of guards or operations, each a word and what
/// belongs to it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Arguments {
    count: usize,
    text: Vec<u8>,
    /// Where each word ends.
    ends: Vec<usize>,
}

impl Arguments {
    pub(crate) fn push(&mut self, word: impl AsRef<[u8]>) {
        self.text.extend_from_slice(word.as_ref());
        self.ends.push(self.text.len());
    }

    pub(crate) fn begin(&mut self, word: &str) {
        self.count += 1;
        self.push(word);
    }

    pub(crate) fn extend<A: AsRef<[u8]>>(&mut self, words: impl IntoIterator<Item = A>) {
        words.into_iter().for_each(|word| self.push(word));
    }

    /// How many words, and then the words.
    pub(crate) fn list<A: AsRef<[u8]>>(&mut self, words: &[A]) {
        self.push(words.len().to_string());
        self.extend(words);
    }

    /// How many words, and then names and values in turn.
    pub(crate) fn pairs(&mut self, pairs: &[(&str, String)]) {
        self.push((pairs.len() * 2).to_string());
        self.extend(pairs.iter().flat_map(|(name, value)| [*name, value]));
    }

    /// A command on a key of ours.
    pub(crate) fn call(&mut self, command: &[&str]) {
        self.begin("call");
        self.list(command);
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.count += other.count;
        let length = self.text.len();
        self.text.extend_from_slice(&other.text);
        self.ends.extend(other.ends.iter().map(|end| length + end));
    }

    /// How many guards or operations there are, and then all of them.
    pub(crate) fn append_counted(&mut self, other: Self) {
        self.push(other.count.to_string());
        self.append(other);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .map(|(begin, end)| &self.text[begin..*end])
    }
}
