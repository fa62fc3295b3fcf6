//! The byte layout of everything that Sublet signs outside a block. SPEC 2.10.
//!
//! Owns: the labels of such messages ([`Label`]), big-endian integers, length-prefixed text, and
//! that decoding is exact (no byte is left, none is missing). Does not own: the meaning of the
//! fields.

use sha2::{Digest as _, Sha256};

const DOMAIN: &[u8] = b"\0SUBLET\0";

macro_rules! labels {
    ($($variant:ident $text:literal: $what:literal;)*) => {
        /// The label at the start of a message that is signed or hashed outside a block. It lists
        /// every label in use, so no message can be made under another one. SPEC 2.10.1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Label {
            $(#[doc = concat!("`", $text, "`: ", $what, ".")] $variant),*
        }

        impl Label {
            /// All labels in use.
            pub const ALL: &[Label] = &[$(Label::$variant),*];

            /// Returns the label's text.
            pub const fn text(self) -> &'static str {
                match self { $(Label::$variant => $text),* }
            }
        }
    };
}

labels! {
    CallProof "call-proof-v1": "a call, by its holder";
    Enroll "enroll-v1": "a new key at enrollment, by the key itself";
    Rotate "rotate-v1": "a new key at rotation, by the key itself";
    Receipt "receipt-v1": "recorded hops, by the broker";
    FeedHead "feed-head-v1": "the revocation feed up to a number, by the broker";
    TrustBundle "trust-bundle-v1": "the broker's keys, by one of them";
    Root "root-v1": "hashed: the id before block 0";
    HopId "hop-id-v1": "hashed: a hop's id";
    Feed "feed-v1": "hashed: the start of a feed";
    FeedLink "feed-link-v1": "hashed: a delta after those before it";
    FeedDelta "feed-delta-v1": "a delta, bound by the hash of the feed";
    JoinToken "join-token-v1": "hashed: a join token";
    Entropy "entropy-v1": "hashed: random bytes of one decision, by purpose";
    Login "login-v1": "hashed: a login, by its issuer, subject and session";
}

/// Labels that are reserved for later versions. Nothing is made or read under them: they are no
/// [`Label`].
pub const RESERVED_LABELS: [&str; 6] = [
    "approve-request-v1",
    "approve-vote-v1",
    "approver-key-v1",
    "release-v1",
    "lease-v1",
    "lease-close-v1",
];

/// Returns `\0SUBLET\0` label `\0`, the start of every signed message outside a block. 0x00 is no
/// protobuf tag, so no block can begin like this.
pub fn domain(label: Label) -> Vec<u8> {
    prefix(label.text())
}

fn prefix(label: &str) -> Vec<u8> {
    [DOMAIN, label.as_bytes(), b"\0"].concat()
}

/// Returns a SHA-256 state that has hashed the label, ready for the rest of the message.
pub(crate) fn hasher(label: Label) -> Sha256 {
    Sha256::new_with_prefix(DOMAIN).chain_update(label.text()).chain_update(b"\0")
}

/// Returns the SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Writes the fields of a message in order.
pub struct Writer(Vec<u8>);

impl Writer {
    /// Begins a message with its label.
    pub fn labelled(label: Label) -> Self {
        Writer(domain(label))
    }

    /// Appends bytes whose length the layout fixes.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.fixed(&[value])
    }

    /// Appends two bytes, big-endian.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Appends four bytes, big-endian.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Appends eight bytes, big-endian.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Appends a time in milliseconds since 1970 as eight bytes. An earlier time is written as 0.
    #[must_use]
    pub fn time(self, value: crate::base::id::UnixMillis) -> Self {
        self.u64(u64::try_from(value.0).unwrap_or(0))
    }

    /// Appends a length of two bytes and the text. Names have far fewer than 65,535 bytes. A longer
    /// text would be cut, and its signature would not verify.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let bytes = value.as_bytes().get(..usize::from(length)).unwrap_or_default();
        self.u16(length).fixed(bytes)
    }

    /// Returns the message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The bytes do not have the layout: a byte is missing or left over, or a field has an impossible
/// value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes do not have the layout of this message")]
pub struct BadLayout;

/// Reads the fields of a message in order.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a message without a label.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// Reads a message that must begin with this label.
    pub fn labelled(bytes: &'a [u8], label: Label) -> Result<Self, BadLayout> {
        bytes.strip_prefix(domain(label).as_slice()).map(Reader).ok_or(BadLayout)
    }

    /// Returns the next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], BadLayout> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(BadLayout)?;
        self.0 = rest;
        Ok(head)
    }

    /// Returns the next `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], BadLayout> {
        self.take(N)?.try_into().map_err(|_| BadLayout)
    }

    /// Returns one byte.
    pub fn u8(&mut self) -> Result<u8, BadLayout> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    /// Returns two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, BadLayout> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Returns four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, BadLayout> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Returns eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, BadLayout> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// Returns a time in milliseconds since 1970.
    pub fn time(&mut self) -> Result<crate::base::id::UnixMillis, BadLayout> {
        i64::try_from(self.u64()?).map(crate::base::id::UnixMillis).map_err(|_| BadLayout)
    }

    /// Returns a text: a length of two bytes and that many bytes of UTF-8.
    pub fn text(&mut self) -> Result<&'a str, BadLayout> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| BadLayout)
    }

    /// Ends reading. A byte that is left is an error.
    pub fn finish(self) -> Result<(), BadLayout> {
        if self.0.is_empty() { Ok(()) } else { Err(BadLayout) }
    }

    /// Returns all bytes that are left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 2.10.
    #[test]
    fn what_is_read_to_its_end_has_no_byte_left() {
        let message =
            Writer::labelled(Label::Entropy).u8(1).u16(2).u32(3).u64(4).text("five").finish();
        let read = |bytes: &[u8]| {
            let mut reader = Reader::labelled(bytes, Label::Entropy)?;
            let numbers = (reader.u8()?, reader.u16()?, reader.u32()?, reader.u64()?);
            let text = reader.text()?.to_owned();
            reader.finish().map(|()| (numbers, text))
        };
        assert_eq!(read(&message), Ok(((1, 2, 3, 4), "five".to_owned())));
        assert_eq!(read(&[message.as_slice(), b"x"].concat()), Err(BadLayout));
        assert_eq!(read(&message[..message.len() - 1]), Err(BadLayout));
    }

    // SPEC 2.10.
    #[test]
    fn no_message_reads_as_one_of_another_label() {
        let used = Label::ALL.iter().map(|label| label.text());
        let all: Vec<&str> = used.chain(RESERVED_LABELS).collect();
        for (at, label) in all.iter().enumerate() {
            assert!(
                label.bytes().all(|b| b.is_ascii_graphic()),
                "{label:?} ends where its 0 stands"
            );
            for other in all.iter().enumerate().filter(|(of, _)| *of != at).map(|(_, other)| other)
            {
                assert!(!prefix(other).starts_with(&prefix(label)), "{label} begins {other}");
            }
        }
    }
}
