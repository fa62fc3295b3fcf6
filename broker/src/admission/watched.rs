//! The bytes of a connection that can be closed or paused from outside.
//!
//! Owns: ending reads and writes when the connection is to close, pausing reads, freeing its place
//! together with its socket. Does not own: when to close (`connections`), TLS, HTTP.
//!
//! Invariants: the place is freed when the socket is closed, and not earlier.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Place;
use super::link::Link;

/// A socket with its place in the table. Its fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    socket: S,
    place: Place,
}

impl<S> Watched<S> {
    pub(crate) fn new(socket: S, place: Place) -> Self {
        Watched { socket, place }
    }

    /// Returns the shared facts of the connection.
    pub(crate) fn link(&self) -> &Arc<Link> {
        self.place.link()
    }

    fn closed() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, "closed at a bound")
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    /// A connection that is to close reads as if the peer had hung up.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.place.link().poll_closing(context) {
            return Poll::Ready(Ok(()));
        }
        // Resuming wakes the task that was registered above.
        if self.place.link().is_paused() {
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.place.link().poll_closing(context) {
            return Poll::Ready(Err(Self::closed()));
        }
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.place.link().poll_closing(context) {
            return Poll::Ready(Err(Self::closed()));
        }
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.place.link().poll_closing(context) {
            return Poll::Ready(Err(Self::closed()));
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
