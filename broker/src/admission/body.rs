//! Reads a body within the caller's byte budget, and gives up an answer that takes too long.
//!
//! Owns: reading from the stream into one buffer, counting bytes before they are kept, the frame of
//! gRPC. Does not own: how many bytes are left (`budget`), what the message says.
//!
//! Invariants: a buffer is never larger than what was counted for it. Chunks of the transport are copied
//! and dropped, because even a chunk of one byte keeps its whole read buffer alive. A message is hashed
//! as it arrived.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use sublet_core::refusal::{Overload, Refusal};
use sublet_proto::convert::field;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

use super::budget::{Held, NoRoom};
use super::link::InFlight;
use super::pool::Taken;
use crate::request::respond;

/// The frame of gRPC: one byte of flags, four bytes of length.
pub(super) const FRAME_BYTES: usize = 5;

/// Why a body was not accepted.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// The body is not valid; the sender must change it.
    Refusal(Refusal),
    /// There is no room for it.
    NoRoom(NoRoom),
}

impl From<NoRoom> for NotTaken {
    fn from(full: NoRoom) -> Self {
        NotTaken::NoRoom(full)
    }
}

/// Reads one uncompressed gRPC message of at most `bytes_max` bytes, with its frame.
pub(super) async fn message(
    body: Body,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Bytes, NotTaken> {
    let bytes = read(body, bytes_max.saturating_add(FRAME_BYTES), held, |sofar| {
        check_frame(sofar, bytes_max)
    });
    let bytes = bytes.await?;
    match bytes.split_first_chunk::<FRAME_BYTES>() {
        Some((frame, message)) if announced(frame) == message.len() => Ok(bytes),
        _ => Err(not_one_message()),
    }
}

/// Reads a body of at most `bytes_max` bytes.
pub(super) async fn form(body: Body, bytes_max: usize, held: &mut Held) -> Result<Bytes, NotTaken> {
    read(body, bytes_max, held, |_| Ok(())).await
}

/// Checks the first five bytes of a message, before the rest is read: the flags and the length.
fn check_frame(sofar: &[u8], bytes_max: usize) -> Result<(), NotTaken> {
    match sofar.first_chunk::<FRAME_BYTES>() {
        Some(frame) if announced(frame) > bytes_max => Err(too_large(bytes_max)),
        Some([1..=u8::MAX, ..]) => Err(not_one_message()),
        _ => Ok(()),
    }
}

fn announced(frame: &[u8; FRAME_BYTES]) -> usize {
    let [_, a, b, c, d] = *frame;
    u32::from_be_bytes([a, b, c, d]) as usize
}

async fn read(
    mut body: Body,
    bytes_max: usize,
    held: &mut Held,
    check: impl Fn(&[u8]) -> Result<(), NotTaken>,
) -> Result<Bytes, NotTaken> {
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| bad("it did not arrive whole"))?;
        let Ok(chunk) = frame.into_data() else { continue };
        let length = bytes.len().saturating_add(chunk.len());
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        let capacity = bytes.capacity();
        if length > capacity {
            // The buffer doubles, so that a body of many small chunks is not copied again and again.
            let larger = capacity.saturating_mul(2).clamp(length, bytes_max);
            held.grow(larger.saturating_sub(capacity))?;
            bytes.reserve_exact(larger.saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(&chunk);
        check(&bytes)?;
    }
    Ok(bytes.into())
}

fn too_large(bytes_max: usize) -> NotTaken {
    NotTaken::Refusal(Overload::TooLarge { bytes_max }.into())
}

fn not_one_message() -> NotTaken {
    bad("one uncompressed message is needed")
}

fn bad(detail: &str) -> NotTaken {
    NotTaken::Refusal(field("message", detail).into())
}

/// A body that ends with an error if it is longer than the limit. It is for bodies that a service reads
/// itself.
pub(super) struct Bounded {
    inner: Body,
    bytes_max: usize,
    left: usize,
}

impl Bounded {
    pub(super) fn new(inner: Body, bytes_max: usize) -> Self {
        Bounded { inner, bytes_max, left: bytes_max }
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    let bytes_max = self.bytes_max;
                    let refusal = Overload::TooLarge { bytes_max }.into();
                    return Poll::Ready(Some(Err(respond::status(&refusal))));
                }
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// An answer, with what the request holds until the answer is sent or given up.
pub(super) struct Answered {
    pub(super) inner: Body,
    /// The time at which the answer is given up; `None` for no limit.
    pub(super) until: Option<Pin<Box<Sleep>>>,
    pub(super) _in_flight: Option<InFlight>,
    pub(super) _call: Option<Taken>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let until = self.until.as_mut();
        if until.is_some_and(|until| until.as_mut().poll(context).is_ready()) {
            self.until = None;
            let refusal = Overload::Queue("answers that are not read").into();
            return Poll::Ready(Some(Err(respond::status(&refusal))));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt as _;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::admission::bounds::{Bounds, ByteBounds};
    use crate::admission::budget::Budget;
    use crate::admission::notices::Bound;
    use crate::admission::pool::Shares;

    fn budget(unproven: usize) -> Budget {
        let bytes = Bounds::of(1_024).unwrap().bytes;
        let shares = Shares { each: unproven, all: unproven };
        Budget::new(&ByteBounds { unproven: shares, ..bytes })
    }

    fn framed(flags: u8, announced: u32, message: &[u8]) -> Vec<u8> {
        [&[flags], announced.to_be_bytes().as_slice(), message].concat()
    }

    async fn taken(budget: &Budget, bytes: Vec<u8>) -> Result<Bytes, NotTaken> {
        let mut held = budget.unproven(None, None, false);
        message(Body::new(Full::new(Bytes::from(bytes))), 8, &mut held).await
    }

    #[tokio::test]
    async fn one_uncompressed_message_within_its_bound_is_taken_and_nothing_else() {
        let budget = budget(1_000);
        let whole = framed(0, 4, b"abcd");
        assert_eq!(taken(&budget, whole.clone()).await.unwrap(), whole);
        assert_eq!(taken(&budget, framed(0, 0, b"")).await.unwrap().len(), FRAME_BYTES);
        for (bytes, code) in [
            (framed(1, 4, b"abcd"), "bad_field"),
            (framed(0, 5, b"abcd"), "bad_field"),
            (framed(0, 3, b"abcd"), "bad_field"),
            (vec![0; 4], "bad_field"),
            (vec![], "bad_field"),
            (framed(0, 9, b""), "message_too_large"),
            (framed(0, 9, b"abcdefghi"), "message_too_large"),
        ] {
            let Err(NotTaken::Refusal(refusal)) = taken(&budget, bytes).await else {
                panic!("{code}")
            };
            assert_eq!(refusal.code(), code);
        }
        assert_eq!(budget.used(), 0, "given back");
    }

    /// What is counted is what is kept, from the first byte on. It is given back in every case.
    // SPEC 5.7.1.
    #[tokio::test]
    async fn a_body_is_counted_while_it_arrives_and_given_back_when_it_is_let_go() {
        let budget = budget(1_000);
        let (chunks, stream) = mpsc::channel::<Bytes>(1);
        let frames = ReceiverStream::new(stream).map(|chunk| Ok::<_, Status>(Frame::data(chunk)));
        let body = Body::new(StreamBody::new(frames));
        let mut held = budget.unproven(None, None, false);
        let reading = async {
            let read = form(body, 10_000, &mut held).await;
            drop(held);
            read
        };
        let sending = async {
            chunks.send(Bytes::from(vec![7; 300])).await.unwrap();
            // The next chunk is sent when the first one was read.
            chunks.send(Bytes::from(vec![7; 1])).await.unwrap();
            chunks.reserve().await.unwrap();
            assert!(budget.used() >= 301, "{}", budget.used());
            chunks.send(Bytes::from(vec![7; 900])).await.unwrap();
        };
        let (read, ()) = tokio::join!(reading, sending);
        assert!(matches!(read, Err(NotTaken::NoRoom(NoRoom(Bound::AllBytes)))), "{read:?}");
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_stream_that_is_read_behind_the_gate_ends_at_its_bound() {
        let body = Body::new(Full::new(Bytes::from(vec![0; 100])));
        assert!(Bounded::new(body, 99).collect().await.is_err());
        let body = Body::new(Full::new(Bytes::from(vec![0; 100])));
        assert_eq!(Bounded::new(body, 100).collect().await.unwrap().to_bytes().len(), 100);
    }
}
