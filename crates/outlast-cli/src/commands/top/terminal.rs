//! The terminal of a full-screen view: taken over, drawn on, and given back as it was.
//!
//! It is given back on every way out: a return, a panic (before its message is printed), a signal.

use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};

use super::super::client::out::colour;
use super::line::{Line, Style};

/// Whether the terminal is ours at present.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that was taken over.
pub(super) struct Screen {
    out: Stdout,
    colour: bool,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub(super) fn take() -> io::Result<Self> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(io::Error::other(
                "standard input and output are no terminal",
            ));
        }
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                usual(panic);
            }));
        });
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::Release);
        let mut screen = Self {
            out: io::stdout(),
            colour: colour(),
        };
        execute!(
            screen.out,
            EnterAlternateScreen,
            Hide,
            Clear(ClearType::All)
        )?;
        Ok(screen)
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn size(&self) -> io::Result<(usize, usize)> {
        let (columns, rows) = terminal::size()?;
        Ok((columns.into(), rows.into()))
    }

    /// Draws these lines from the top, and nothing below them.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (row, line) in lines.iter().enumerate() {
            let row = u16::try_from(row).unwrap_or(u16::MAX);
            queue!(self.out, MoveTo(0, row))?;
            for (style, text) in line.spans() {
                self.span(*style, text)?;
            }
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
        }
        let below = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        queue!(self.out, MoveTo(0, below), Clear(ClearType::FromCursorDown))?;
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }

    fn span(&mut self, style: Style, text: &str) -> io::Result<()> {
        let attribute = match style {
            Style::Bold => Some(Attribute::Bold),
            Style::Selected => Some(Attribute::Reverse),
            Style::Dim if !self.colour => None,
            Style::Dim => Some(Attribute::Dim),
            Style::Plain | Style::Colour(_) => None,
        };
        if let Some(attribute) = attribute {
            queue!(self.out, SetAttribute(attribute))?;
        }
        if let (Style::Colour(code), true) = (style, self.colour) {
            // As the codes of terminals count: 31 is red.
            let colour = match code {
                31 => Color::DarkRed,
                32 => Color::DarkGreen,
                33 => Color::DarkYellow,
                36 => Color::DarkCyan,
                _ => Color::DarkGrey,
            };
            queue!(self.out, SetForegroundColor(colour))?;
        }
        queue!(
            self.out,
            Print(text),
            SetAttribute(Attribute::Reset),
            ResetColor
        )
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::AcqRel) {
        // A terminal that is gone needs nothing.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}
