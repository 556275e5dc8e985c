//! Reads an event stream (`text/event-stream`) as its bytes arrive.
//!
//! Chunks may end anywhere, also inside a character or between the two bytes of a line end; what
//! comes out does not depend on where. The rules are those of the HTML standard, "Interpreting an
//! event stream". An event larger than the limit is an error, so that a broken server cannot fill
//! the memory.

use std::time::Duration;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The id that stood in it, if one did.
    pub id: Option<String>,
    /// The lines of `data`, joined. May be empty: an event that only carries an id.
    pub data: String,
    /// The value of `event`, if it was given.
    pub kind: Option<String>,
}

/// An event or a line went over the limit.
#[derive(Debug, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct TooLarge {
    limit: usize,
}

/// The reader of one stream.
pub struct Parser {
    limit: usize,
    line: Vec<u8>,
    after_carriage_return: bool,
    at_start: bool,
    data: String,
    has_data: bool,
    kind: Option<String>,
    /// The id of the event that is being read. It counts once the event is whole: a stream that
    /// breaks in its middle is to be taken up before it.
    next_id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// A reader that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_carriage_return: false,
            at_start: true,
            data: String::new(),
            has_data: false,
            kind: None,
            next_id: None,
            last_id: None,
            retry: None,
        }
    }

    /// The id of the latest event that had one: where to go on after a break.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants to be left alone before the next attempt.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next bytes and appends the events they complete.
    ///
    /// # Errors
    /// An event is larger than the limit. The stream cannot be read on.
    pub fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let mut rest = chunk;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_carriage_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.line.extend_from_slice(rest);
                return self.check();
            };
            self.line.extend_from_slice(&rest[..end]);
            self.check()?;
            self.after_carriage_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.take_line(&line, events);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TooLarge> {
        if self.line.len() + self.data.len() > self.limit {
            return Err(TooLarge { limit: self.limit });
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let mut line = line;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            let id = self.next_id.take();
            if id.is_some() {
                self.last_id.clone_from(&id);
            }
            if std::mem::take(&mut self.has_data) {
                let data = std::mem::take(&mut self.data);
                events.push(Event {
                    id,
                    data,
                    kind: self.kind.take(),
                });
            }
            self.kind = None;
            return;
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            "event" => self.kind = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.next_id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // A comment has an empty field name. Unknown fields are passed over.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], chunk: usize) -> (Vec<Event>, Parser) {
        let mut parser = Parser::new(1_000);
        let mut events = Vec::new();
        for part in text.chunks(chunk) {
            parser.push(part, &mut events).unwrap();
        }
        (events, parser)
    }

    fn event(data: &str) -> Event {
        Event {
            id: None,
            data: data.into(),
            kind: None,
        }
    }

    fn with_id(id: &str, data: &str) -> Event {
        Event {
            id: Some(id.into()),
            ..event(data)
        }
    }

    #[test]
    fn chunks_may_end_anywhere() {
        let text = "\u{feff}: hello\r\nid: 1\r\ndata: a\r\ndata:b ü\r\n\r\nretry: 250\nevent: message\rdata: c\n\n"
            .as_bytes();
        for size in 1..=text.len() {
            let (events, parser) = all(text, size);
            assert_eq!(
                events,
                [
                    with_id("1", "a\nb ü"),
                    Event {
                        id: None,
                        data: "c".into(),
                        kind: Some("message".into())
                    }
                ],
                "chunks of {size}"
            );
            assert_eq!(parser.last_id(), Some("1"));
            assert_eq!(parser.retry(), Some(Duration::from_millis(250)));
        }
    }

    #[test]
    fn an_event_without_data_is_none_and_its_id_counts() {
        let (events, parser) = all(b"id: s.1\n\nevent: x\n\ndata: a\n\n", 3);
        assert_eq!(events, [event("a")]);
        assert_eq!(parser.last_id(), Some("s.1"));
        let (events, _) = all(b"id: s.0\ndata:\n\n", 4);
        assert_eq!(events, [with_id("s.0", "")]);
    }

    #[test]
    fn an_unfinished_event_is_not_delivered() {
        assert!(all(b"data: a\n", 100).0.is_empty());
        assert!(all(b"data: a", 100).0.is_empty());
        let (events, parser) = all(b"id: 1\ndata: a\n\nid: 2\ndata: b\n", 3);
        assert_eq!((events.len(), parser.last_id()), (1, Some("1")));
    }

    #[test]
    fn odd_fields_are_passed_over() {
        let (events, parser) = all(b"data\nid: a\0b\nretry: 1s\nfoo: bar\n:\n\n", 7);
        assert_eq!(events, [event("")]);
        assert_eq!((parser.last_id(), parser.retry()), (None, None));
        let (events, parser) = all(b"id: 5\ndata: x\n\nid\ndata:  y\n\n", 2);
        assert_eq!(events, [with_id("5", "x"), with_id("", " y")]);
        assert_eq!(parser.last_id(), Some(""));
    }

    #[test]
    fn broken_characters_are_replaced() {
        assert_eq!(all(b"data: \xff\n\n", 1).0, [event("\u{fffd}")]);
    }

    #[test]
    fn the_limit_holds_for_a_line_and_for_an_event_of_many_lines() {
        let mut parser = Parser::new(10);
        assert!(parser.push(b"data: 0123456789", &mut Vec::new()).is_err());
        let mut parser = Parser::new(30);
        let lines = b"data: 0123456789\n".repeat(4);
        assert!(parser.push(&lines, &mut Vec::new()).is_err());
    }
}
