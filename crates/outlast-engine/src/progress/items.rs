//! Progress without calls: iterators, streams and readers that count what goes through them.
//!
//! All of them count absolutely and not by increments, so that a replay does not count twice.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::{ProgressPart, ProgressReporter};

/// A number of items: every integer and `f64`.
pub trait Items: Copy {
    /// The number. Integers beyond 2^53 lose their last digits.
    fn count(self) -> f64;
}

macro_rules! items {
    ($($ty:ty)*) => {$(
        impl Items for $ty {
            #[expect(clippy::allow_attributes, reason = "not every type needs each of them")]
            #[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "said above")]
            fn count(self) -> f64 {
                self as f64
            }
        }
    )*};
}

items!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64);

/// Whom a count is for.
#[derive(Clone)]
enum Counter {
    Whole(ProgressReporter),
    Part(ProgressPart),
}

impl Counter {
    fn total(&self, total: f64) {
        match self {
            Self::Whole(reporter) => drop(reporter.total(total)),
            Self::Part(part) => drop(part.total(total)),
        }
    }

    fn done(&self, done: f64) {
        match self {
            Self::Whole(reporter) => drop(reporter.done(done)),
            Self::Part(part) => drop(part.done(done)),
        }
    }

    fn expect(&self, (lower, upper): (usize, Option<usize>)) {
        if upper == Some(lower) {
            self.total(lower.count());
        }
    }

    fn over<I: Iterator>(self, items: I) -> Over<I> {
        self.expect(items.size_hint());
        Over {
            items,
            counter: self,
            begun: 0,
        }
    }

    fn over_stream<S: Stream>(self, items: S) -> OverStream<S> {
        self.expect(items.size_hint());
        OverStream {
            items: Box::pin(items),
            counter: self,
            begun: 0,
        }
    }

    fn over_reader<R>(self, bytes: Option<u64>, reader: R) -> OverReader<R> {
        if let Some(bytes) = bytes {
            self.total(bytes.count());
        }
        OverReader {
            reader,
            counter: self,
            read: 0,
        }
    }
}

macro_rules! counting {
    ($ty:ident, $variant:ident) => {
        impl $ty {
            /// Goes through `items` and counts each as finished when the next one is asked for. The
            /// total is what the iterator says about its length, where it knows.
            pub fn over<I: IntoIterator>(&self, items: I) -> Over<I::IntoIter> {
                Counter::$variant(self.clone()).over(items.into_iter())
            }

            /// Goes through a stream and counts each item as finished when the next one is asked
            /// for.
            pub fn over_stream<S: Stream>(&self, items: S) -> OverStream<S> {
                Counter::$variant(self.clone()).over_stream(items)
            }

            /// Reads from `reader`, a [`std::io::Read`] or [`AsyncRead`], and counts its bytes.
            /// `bytes` is how many there are, where that is known.
            pub fn over_reader<R>(&self, bytes: Option<u64>, reader: R) -> OverReader<R> {
                Counter::$variant(self.clone()).over_reader(bytes, reader)
            }
        }
    };
}

counting!(ProgressReporter, Whole);
counting!(ProgressPart, Part);

/// The iterator of [`ProgressReporter::over`].
pub struct Over<I> {
    items: I,
    counter: Counter,
    begun: u64,
}

impl<I: Iterator> Iterator for Over<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.counter.done(self.begun.count());
        let item = self.items.next()?;
        self.begun += 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// The stream of [`ProgressReporter::over_stream`].
pub struct OverStream<S> {
    items: Pin<Box<S>>,
    counter: Counter,
    begun: u64,
}

impl<S: Stream> Stream for OverStream<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.counter.done(self.begun.count());
        let polled = self.items.as_mut().poll_next(cx);
        if matches!(polled, Poll::Ready(Some(_))) {
            self.begun += 1;
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// The reader of [`ProgressReporter::over_reader`].
pub struct OverReader<R> {
    reader: R,
    counter: Counter,
    read: u64,
}

impl<R> OverReader<R> {
    fn count(&mut self, bytes: usize) {
        if bytes > 0 {
            self.read += bytes as u64;
            self.counter.done(self.read.count());
        }
    }

    /// The reader itself.
    pub fn into_inner(self) -> R {
        self.reader
    }
}

impl<R: io::Read> io::Read for OverReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count(read);
        Ok(read)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for OverReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.count(read);
        polled
    }
}
