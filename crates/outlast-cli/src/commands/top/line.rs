//! A line of the screen: pieces of text in styles, as wide as the terminal and not wider.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a text looks. What is said is never said by colour alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Selected,
    /// A colour, as terminals count them.
    Colour(u8),
}

/// A line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    pub(super) fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    pub(super) fn push(&mut self, style: Style, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    pub(super) fn spans(&self) -> &[(Style, String)] {
        &self.0
    }

    /// The text without its looks.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// Cut to a width, without what would make a terminal do things.
    pub(super) fn fitted(self, width: usize) -> Self {
        let mut left = width;
        let mut spans = Vec::new();
        for (style, text) in self.0 {
            let text = cut(&text, left);
            left -= text.width();
            spans.push((style, text));
        }
        Self(spans)
    }

    /// In one style from edge to edge.
    pub(super) fn selected(self, width: usize) -> Self {
        let mut text: String = self.0.into_iter().map(|(_, text)| text).collect();
        let missing = width.saturating_sub(text.width());
        text.extend(std::iter::repeat_n(' ', missing));
        Self::of(Style::Selected, text)
    }
}

/// What fits into a width of a text, in one line.
pub(super) fn cut(text: &str, width: usize) -> String {
    let mut left = width;
    let mut fits = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        let needs = c.width().unwrap_or(0);
        if needs > left {
            break;
        }
        left -= needs;
        fits.push(c);
    }
    fits
}

/// A text as wide as its column.
pub(super) fn padded(text: &str, width: usize) -> String {
    let mut text = cut(text, width);
    let missing = width.saturating_sub(text.width());
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_whatever_is_in_them() {
        assert_eq!(padded("ab", 4), "ab  ");
        assert_eq!(padded("日本語", 5), "日本 ");
        assert_eq!(cut("a\u{1b}[2Jb\nc", 20), "a [2Jb c");
        let line = Line::of(Style::Bold, "one two three").fitted(5).selected(8);
        assert_eq!(line.text(), "one t   ");
    }
}
