//! Somebody else's bytes on the way to a terminal, which would obey them: a log may hold whatever a command
//! was made to print, also what sets the window's title, writes the clipboard, or paints over what stood there
//! before.
//!
//! Colours and other looks (SGR, `ESC [ … m`), line ends, tabs, and what progress lines are drawn with (a
//! carriage return, and `ESC [ K`, which clears the rest of the line) pass. Of every other sequence and
//! control character the first is replaced with `�`, so that the rest stands there to be read and does
//! nothing. Bytes that are no UTF-8 are replaced as well: a terminal in another encoding would take some for
//! control characters. Pieces may end anywhere.

const ESCAPE: char = '\u{1b}';

/// No sequence that passes is longer.
const LONGEST: usize = 64;

/// Takes the danger out of a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Tamer {
    /// The beginning of a character whose rest is still to come.
    half: Vec<u8>,
    /// The beginning of a sequence whose rest is still to come.
    sequence: String,
    /// Looks were changed and not changed back.
    styled: bool,
    /// Looks do not pass.
    plain: bool,
}

impl Tamer {
    /// `plain` takes colours and other looks out too.
    pub(crate) fn new(plain: bool) -> Self {
        Self {
            plain,
            ..Self::default()
        }
    }

    /// What is to be shown after these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.half);
        all.extend_from_slice(bytes);
        let mut out = String::with_capacity(all.len());
        let mut left = all.len();
        for chunk in all.utf8_chunks() {
            chunk.valid().chars().for_each(|c| self.take(c, &mut out));
            left -= chunk.valid().len() + chunk.invalid().len();
            let Err(error) = std::str::from_utf8(chunk.invalid()) else {
                continue;
            };
            if left == 0 && error.error_len().is_none() {
                self.half = chunk.invalid().to_vec();
            } else {
                self.take(char::REPLACEMENT_CHARACTER, &mut out);
            }
        }
        out
    }

    /// What was begun and never ended, and an end to looks that were left on.
    pub(crate) fn end(&mut self) -> String {
        let mut out = String::new();
        self.give_up(&mut out);
        if !std::mem::take(&mut self.half).is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        if std::mem::take(&mut self.styled) {
            out.push_str("\u{1b}[0m");
        }
        out
    }

    fn take(&mut self, c: char, out: &mut String) {
        if !self.sequence.is_empty() {
            let opened = self.sequence.len() > 1;
            match c {
                '[' if !opened => return self.sequence.push(c),
                '0'..='9' | ';' | ':' if opened && self.sequence.len() < LONGEST => {
                    return self.sequence.push(c);
                }
                'm' if opened => {
                    let looks = std::mem::take(&mut self.sequence);
                    if !self.plain {
                        self.styled = !matches!(looks[2..].trim_matches('0'), "");
                        out.push_str(&looks);
                        out.push(c);
                    }
                    return;
                }
                'K' if opened => {
                    out.push_str(&std::mem::take(&mut self.sequence));
                    return out.push(c);
                }
                _ => self.give_up(out),
            }
        }
        match c {
            ESCAPE => self.sequence.push(c),
            '\n' | '\t' | '\r' => out.push(c),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }

    /// Shows a sequence that does not pass.
    fn give_up(&mut self, out: &mut String) {
        let sequence = std::mem::take(&mut self.sequence);
        if let Some(rest) = sequence.strip_prefix(ESCAPE) {
            out.push(char::REPLACEMENT_CHARACTER);
            out.push_str(rest);
        }
    }
}

/// A whole text.
pub(crate) fn tamed(text: &str, plain: bool) -> String {
    let mut tamer = Tamer::new(plain);
    let mut tamed = tamer.push(text.as_bytes());
    tamed.push_str(&tamer.end());
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In pieces of this size.
    fn pieces(bytes: &[u8], size: usize) -> String {
        let mut tamer = Tamer::new(false);
        let mut out: String = bytes.chunks(size).map(|piece| tamer.push(piece)).collect();
        out.push_str(&tamer.end());
        out
    }

    #[test]
    fn what_harms_is_shown_and_what_colours_passes_wherever_pieces_end() {
        let cases: [(&[u8], &str); 14] = [
            (b"a\r\nb\tc\n", "a\r\nb\tc\n"),
            (
                b"\x1b[1;31mred\x1b[0m \x1b[38:5:4mx\x1b[m",
                "\u{1b}[1;31mred\u{1b}[0m \u{1b}[38:5:4mx\u{1b}[m",
            ),
            (b"\x1b[31mleft on", "\u{1b}[31mleft on\u{1b}[0m"),
            (b"10%\r\x1b[K20%", "10%\r\u{1b}[K20%"),
            // The title, the clipboard, a link.
            (b"\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            (b"\x1b]52;c;cm0=\x1b\\.", "\u{fffd}]52;c;cm0=\u{fffd}\\."),
            // The cursor, the screen, a question that is answered into the shell's input.
            (
                b"\x1b[2J\x1b[3A\x1b[6n",
                "\u{fffd}[2J\u{fffd}[3A\u{fffd}[6n",
            ),
            (
                b"\x1b[?1049h\x1bc\x1bPq",
                "\u{fffd}[?1049h\u{fffd}c\u{fffd}Pq",
            ),
            (
                b"\x1b\x1b[2J\x1b[\x1b[31",
                "\u{fffd}\u{fffd}[2J\u{fffd}[\u{fffd}[31",
            ),
            // Control characters of eight bits.
            ("\u{9b}2J\u{9d}0;t".as_bytes(), "\u{fffd}2J\u{fffd}0;t"),
            (b"\x9b2J\xff.", "\u{fffd}2J\u{fffd}."),
            (
                b"a\x08\x08b\x07\0\x7f",
                "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("ü€😀".as_bytes(), "ü€😀"),
            (b"cut \xe2\x82", "cut \u{fffd}"),
        ];
        for (bytes, tame) in cases {
            for size in 1..=bytes.len() {
                assert_eq!(pieces(bytes, size), tame, "{bytes:?} by {size}");
            }
        }
    }

    #[test]
    fn a_sequence_without_end_is_not_waited_for() {
        let long = format!("\u{1b}[{}", "1".repeat(LONGEST * 3));
        let mut tamer = Tamer::new(false);
        assert!(tamer.push(long.as_bytes()).len() >= LONGEST * 2);
    }

    #[test]
    fn whoever_wants_no_colour_gets_none() {
        assert_eq!(tamed("\u{1b}[31mred\u{1b}[0m", true), "red");
    }
}
