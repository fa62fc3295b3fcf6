//! The part of protobuf that a Biscuit uses: varints and length-prefixed fields.
//! <https://protobuf.dev/programming-guides/encoding/>
//!
//! Owns: reading fields in bounded work, without a copy, and writing them. Does not own: which
//! fields there are. Reading is lenient (a varint may be longer than necessary), because everything
//! that is read here is written again and compared: SPEC 2.4.

/// The bytes are not protobuf of the wire types that a Biscuit uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not the protobuf of a Biscuit")]
pub struct BadWire;

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A value of wire type 0.
    Varint(u64),
    /// A value of wire type 2.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Returns the bytes of a length-prefixed field.
    pub(crate) fn bytes(self) -> Result<&'a [u8], BadWire> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) => Err(BadWire),
        }
    }

    /// Returns the text of a length-prefixed field.
    pub(crate) fn text(self) -> Result<&'a str, BadWire> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadWire)
    }

    /// Returns a number.
    pub(crate) fn number(self) -> Result<u64, BadWire> {
        match self {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) => Err(BadWire),
        }
    }

    /// Returns a number of 32 bits.
    pub(crate) fn number32(self) -> Result<u32, BadWire> {
        u32::try_from(self.number()?).map_err(|_| BadWire)
    }

    /// Returns a number as protobuf's int64.
    pub(crate) fn signed(self) -> Result<i64, BadWire> {
        Ok(i64::from_ne_bytes(self.number()?.to_ne_bytes()))
    }
}

/// The fields of one message, in order: (number, value).
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Fields(message)
    }

    /// Returns the bytes that are not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn varint(&mut self) -> Result<u64, BadWire> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(BadWire)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).ok_or(BadWire)?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BadWire)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), BadWire> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| BadWire)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(BadWire)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return Err(BadWire),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), BadWire>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Returns the field of a message that must have exactly one.
pub(crate) fn only<'a>(message: &'a [u8]) -> Result<(u64, Value<'a>), BadWire> {
    let mut fields = Fields::of(message);
    let field = fields.next().ok_or(BadWire)??;
    if fields.next().is_some() { Err(BadWire) } else { Ok(field) }
}

/// Splits a message before its last field, which includes its tag; `None` for an empty message.
pub(crate) fn split_last(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Fields::of(message);
    let mut start = 0;
    loop {
        let at = message.len() - fields.rest().len();
        match fields.next() {
            Some(field) => field.map(|_| start = at).ok()?,
            None => break,
        }
    }
    message.split_at_checked(start).filter(|(_, last)| !last.is_empty())
}

/// Writes fields in the order of the calls.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Encoder(Vec::with_capacity(bytes))
    }

    fn put(&mut self, mut value: u64) {
        while value > 0x7f {
            // The mask leaves seven bits, which fit.
            self.0.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or(0));
    }

    /// Writes a number: protobuf's uint32, uint64 or enum.
    pub(crate) fn number(&mut self, field: u64, value: u64) {
        self.put(field << 3);
        self.put(value);
    }

    /// Writes a number: protobuf's int64.
    pub(crate) fn signed(&mut self, field: u64, value: i64) {
        self.number(field, u64::from_ne_bytes(value.to_ne_bytes()));
    }

    /// Writes bytes or text.
    pub(crate) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.put(field << 3 | 2);
        // A usize has at most 64 bits.
        self.put(u64::try_from(value.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(value);
    }

    /// Writes a message whose content `fill` writes.
    pub(crate) fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        self.put(field << 3 | 2);
        let start = self.0.len();
        self.0.push(0);
        fill(self);
        self.set_length(start);
    }

    /// Writes the length of what follows the byte at `start`, and makes room if it needs more
    /// bytes.
    fn set_length(&mut self, start: usize) {
        let mut rest = self.0.len().saturating_sub(start + 1);
        let mut at = start;
        loop {
            // The mask leaves seven bits, which fit.
            let byte = u8::try_from(rest & 0x7f).unwrap_or(0);
            rest >>= 7;
            if let Some(place) = self.0.get_mut(at) {
                *place = if rest > 0 { byte | 0x80 } else { byte };
            }
            if rest == 0 {
                return;
            }
            at += 1;
            self.0.insert(at, 0);
        }
    }

    /// Returns everything that was written.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut encoder = Encoder::default();
        encoder.number(1, u64::MAX);
        encoder.signed(2, -1);
        encoder.message(3, |inner| inner.bytes(4, &[7; 300]));
        encoder.message(5, |_| {});
        let bytes = encoder.finish();
        let fields: Vec<_> = Fields::of(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(fields[0], (1, Value::Varint(u64::MAX)));
        assert_eq!(fields[1].1.signed(), Ok(-1));
        assert_eq!(only(fields[2].1.bytes().unwrap()), Ok((4, Value::Bytes(&[7; 300]))));
        assert_eq!(fields[3], (5, Value::Bytes(&[])));
    }

    #[test]
    fn what_is_cut_short_or_of_another_type_is_refused() {
        let bad: [&[u8]; 6] = [
            &[0x80],
            &[0x08],
            &[0x0a, 5, 1],
            &[0x0d, 0, 0, 0, 0],
            &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ];
        for bytes in bad {
            assert!(Fields::of(bytes).any(|field| field.is_err()), "{bytes:02x?}");
        }
    }

    #[test]
    fn the_last_field_is_split_from_what_stands_before_it() {
        let mut encoder = Encoder::default();
        encoder.number(1, 300);
        encoder.bytes(2, b"two");
        let before = encoder.0.clone();
        encoder.bytes(3, b"");
        let message = encoder.finish();
        let last = &message[before.len()..];
        assert_eq!(split_last(&message), Some((before.as_slice(), last)));
        assert_eq!(split_last(last), Some((&[][..], last)));
        assert_eq!(split_last(&[]), None);
        assert_eq!(split_last(&message[..message.len() - 1]), None, "cut short");
    }
}
