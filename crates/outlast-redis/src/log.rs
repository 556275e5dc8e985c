//! Logs: a sorted set of pieces by where they start. Beyond the limit the pieces in the middle go.

use outlast_core::log::{self, LOG_LIMIT};
use outlast_core::store::Notice;
use outlast_core::task::Lease;
use outlast_core::{Error, LogChunk, LogLine, LogPage, Timestamp};
use redis::Value;

use crate::row;
use crate::unit::Unit;

impl Unit<'_> {
    /// Appends lines to the log of a task that runs under `lease`; the commit says where it ends then.
    pub(crate) fn log_append(&mut self, lease: &Lease, lines: &[LogLine]) -> Result<(), Error> {
        let mut mark = None;
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        for line in lines {
            row::check_length("name of a logger", line.logger.len())?;
            mark = line.mark.or(mark);
            for piece in log::pieces(&line.text) {
                let (level, logger) = (line.level.as_str(), &line.logger);
                let head = format!(
                    "{}:{level}:{}:{logger}",
                    row::millis(self.now),
                    logger.len()
                );
                let mut text = head.into_bytes();
                text.extend_from_slice(piece);
                pieces.push(piece.len().to_string().into_bytes());
                pieces.push(text);
            }
        }
        let half = (LOG_LIMIT / 2).to_string();
        let mark = mark.map_or(String::new(), |mark| mark.to_string());
        let count = (pieces.len() / 2).to_string();
        let head = [lease.task.to_string(), half.clone(), half, mark, count];
        let head = head.into_iter().map(String::into_bytes);
        self.operate("log", head.chain(pieces));
        self.notices.push(Notice::Logged(lease.task));
        Ok(())
    }
}

/// A page of a log as the script found it.
pub(crate) fn decode_page(found: Value, offset: u64, limit: usize) -> Result<LogPage, Error> {
    let mut parts = row::array(found).into_iter();
    let (Some(end), Some(mark), Some(pieces)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(LogPage::default());
    };
    let mut page = LogPage {
        next: offset,
        end: row::int(&end),
        mark: (!row::bytes(&mark).is_empty()).then(|| row::int(&mark)),
        ..LogPage::default()
    };
    let mut bytes = 0;
    for piece in row::array(pieces) {
        if bytes >= limit && !page.chunks.is_empty() {
            break;
        }
        let mut chunk = decode_piece(row::bytes(&piece))?;
        if chunk.end() <= offset {
            continue;
        }
        if chunk.offset < offset {
            let skipped = usize::try_from(offset - chunk.offset).expect("within the piece");
            chunk.text.drain(..skipped);
            chunk.offset = offset;
        }
        bytes += chunk.text.len();
        page.next = chunk.end();
        page.chunks.push(chunk);
    }
    Ok(page)
}

/// `offset:length:time:level:length of the logger:logger` and the text.
fn decode_piece(piece: &[u8]) -> Result<LogChunk, Error> {
    let mut parts = piece.splitn(6, |byte| *byte == b':');
    let mut next = || parts.next().unwrap_or_default();
    let offset = row::number("log", next())?;
    let _length = next();
    let at = row::number("log", next()).map(Timestamp::from_millis)?;
    let level = format!("\"{}\"", String::from_utf8_lossy(next()));
    let logger: usize = row::number("log", next())?;
    let rest = next();
    let logger = logger.min(rest.len());
    Ok(LogChunk {
        offset,
        at,
        level: row::decode("log level", level.as_bytes())?,
        logger: String::from_utf8_lossy(&rest[..logger]).into_owned(),
        text: rest[logger..].to_vec(),
    })
}
