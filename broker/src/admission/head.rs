//! A bound on what an HTTP/1 peer sends before its request is complete.
//!
//! Owns: telling HTTP/1 from HTTP/2 by the first bytes, and counting. Does not own: reading, HTTP.
//!
//! Invariants: HTTP/2 is not counted, because it has its own bound on headers.

use super::bounds::HTTP1_HEAD_BYTES_MAX;

/// The first bytes of the HTTP/2 preface. No method of HTTP/1 begins with them.
const HTTP2: [u8; 3] = *b"PRI";

/// What a connection has sent that has not become a request.
#[derive(Debug, Default)]
pub(crate) struct Head {
    first: [u8; HTTP2.len()],
    seen: usize,
    ahead: usize,
}

impl Head {
    /// Counts bytes that were read, while a request was in flight or not. Returns whether they are
    /// within the bound.
    pub(crate) fn take(&mut self, bytes: &[u8], is_busy: bool) -> bool {
        for (slot, byte) in self.first.iter_mut().skip(self.seen).zip(bytes) {
            *slot = *byte;
        }
        self.seen = self.seen.saturating_add(bytes.len());
        if is_busy || (self.seen >= HTTP2.len() && self.first == HTTP2) {
            self.ahead = 0;
            return true;
        }
        self.ahead = self.ahead.saturating_add(bytes.len());
        self.ahead <= HTTP1_HEAD_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_without_an_end_is_not_read_for_ever_and_http2_is_let_pass() {
        let mut http1 = Head::default();
        assert!(http1.take(b"G", false));
        assert!(http1.take(&vec![b'x'; HTTP1_HEAD_BYTES_MAX - 1], false));
        assert!(!http1.take(b"x", false));
        // A body does not count as a head.
        let mut body = Head::default();
        for _ in 0..10 {
            assert!(body.take(&vec![b'x'; HTTP1_HEAD_BYTES_MAX], true));
        }
        let mut http2 = Head::default();
        assert!(http2.take(b"P", false) && http2.take(b"RI * HTTP/2.0", false));
        for _ in 0..10 {
            assert!(http2.take(&vec![b'x'; HTTP1_HEAD_BYTES_MAX], false));
        }
    }
}
