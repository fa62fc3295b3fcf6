//! Fixed layouts: what Sublet signs outside a block is written and read by these two. SPEC 2.10.
//!
//! Owns: big-endian integers, length-prefixed text, and that decoding is exact (no byte is left,
//! none is missing). Does not own: what the fields mean.

use sha2::{Digest as _, Sha256};

const DOMAIN: &[u8] = b"\0SUBLET\0";

/// `\0SUBLET\0` label `\0`: how every signed message outside a block begins. 0x00 is no protobuf
/// tag, so no block can start so.
pub fn domain(label: &str) -> Vec<u8> {
    [DOMAIN, label.as_bytes(), b"\0"].concat()
}

/// SHA-256 of a message that begins with its label, which shall be told the rest.
pub(crate) fn hasher(label: &str) -> Sha256 {
    Sha256::new_with_prefix(DOMAIN).chain_update(label).chain_update(b"\0")
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Appends fields in order.
pub struct Writer(Vec<u8>);

impl Writer {
    /// A message that begins with its label.
    pub fn labelled(label: &str) -> Self {
        Writer(domain(label))
    }

    /// Bytes of a length that the layout fixes.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.fixed(&[value])
    }

    /// Two bytes, big-endian.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Four bytes, big-endian.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Eight bytes, big-endian.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// A time in milliseconds, eight bytes; times before 1970 are written as 1970.
    #[must_use]
    pub fn time(self, value: crate::id::UnixMillis) -> Self {
        self.u64(u64::try_from(value.0).unwrap_or(0))
    }

    /// Two bytes of length and the text. Names here are bounded far below 65,535 bytes; a longer
    /// text would be cut, and so fail to verify rather than be confused with another.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let bytes = value.as_bytes().get(..usize::from(length)).unwrap_or_default();
        self.u16(length).fixed(bytes)
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The layout does not fit: a byte too few, a byte too many, or a field that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes do not have the layout of this message")]
pub struct BadLayout;

/// Takes fields in order.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from a message that has no label.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// Reads a message that must begin with this label.
    pub fn labelled(bytes: &'a [u8], label: &str) -> Result<Self, BadLayout> {
        bytes.strip_prefix(domain(label).as_slice()).map(Reader).ok_or(BadLayout)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], BadLayout> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(BadLayout)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], BadLayout> {
        self.take(N)?.try_into().map_err(|_| BadLayout)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, BadLayout> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, BadLayout> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, BadLayout> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, BadLayout> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// A time in milliseconds since 1970.
    pub fn time(&mut self) -> Result<crate::id::UnixMillis, BadLayout> {
        i64::try_from(self.u64()?).map(crate::id::UnixMillis).map_err(|_| BadLayout)
    }

    /// Two bytes of length and that much UTF-8.
    pub fn text(&mut self) -> Result<&'a str, BadLayout> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| BadLayout)
    }

    /// Ends the reading; an error if a byte is left.
    pub fn finish(self) -> Result<(), BadLayout> {
        if self.0.is_empty() { Ok(()) } else { Err(BadLayout) }
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
