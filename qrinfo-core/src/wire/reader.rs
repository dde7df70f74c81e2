use bytes::Bytes;

use super::{DecodeError, DecodeErrorKind};

/// A cursor over one payload. Its errors name the field and the offset.
///
/// A copy is a place to come back to. Reads of a copy in a local variable are the cheapest: the compiler keeps it in
/// registers.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    payload: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `payload`.
    #[inline]
    pub fn new(payload: &'a Bytes) -> Self {
        Self { payload, rest: payload }
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> usize {
        self.payload.len() - self.rest.len()
    }

    /// Bytes not read yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes read since the offset `start`, as a slice of the payload; empty if `start` is ahead.
    #[inline]
    pub fn since(&self, start: usize) -> Bytes {
        let end = self.offset();
        self.payload.slice(start.min(end)..end)
    }

    /// An error at the current offset.
    #[cold]
    pub fn error(&self, field: &'static str, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { field, offset: self.offset(), kind }
    }

    #[cold]
    fn truncated(self, field: &'static str, needed: usize) -> DecodeError {
        self.error(field, DecodeErrorKind::Truncated { needed, left: self.remaining() })
    }

    /// The next `len` bytes, borrowed.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] if fewer are left.
    #[inline]
    pub fn slice(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], DecodeError> {
        let (slice, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.truncated(field, len))?;
        self.rest = rest;
        Ok(slice)
    }

    /// The next `len` bytes, as a slice of the payload.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] if fewer are left.
    #[inline]
    pub fn bytes(&mut self, field: &'static str, len: usize) -> Result<Bytes, DecodeError> {
        let start = self.offset();
        self.slice(field, len)?;
        Ok(self.since(start))
    }

    /// The next `N` bytes, copied.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] if fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.truncated(field, N))?;
        self.rest = rest;
        Ok(*array)
    }

    /// A CompactSize. Its shortest form is the only one accepted.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] or [`DecodeErrorKind::NonMinimalCompactSize`].
    #[inline]
    pub fn compact_size(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match self.rest {
            [small @ ..0xfd, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*small))
            }
            _ => self.long_compact_size(field),
        }
    }

    fn long_compact_size(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let start = *self;
        let (value, least) = match self.u8(field)? {
            0xfd => (u64::from(self.u16(field)?), 0xfd),
            0xfe => (u64::from(self.u32(field)?), 0x1_0000),
            0xff => (self.u64(field)?, 0x1_0000_0000),
            small => (u64::from(small), 0),
        };
        if value < least {
            return Err(start.error(field, DecodeErrorKind::NonMinimalCompactSize(value)));
        }
        Ok(value)
    }

    /// A count of items of at least `min_size` bytes each, bounded by the bytes that are left.
    ///
    /// # Errors
    /// The errors of [`compact_size`](Self::compact_size), and [`DecodeErrorKind::ImpossibleCount`].
    pub fn count(&mut self, field: &'static str, min_size: usize) -> Result<usize, DecodeError> {
        let start = self.offset();
        let count = self.compact_size(field)?;
        let left = self.remaining();
        match usize::try_from(count) {
            Ok(items) if items <= left / min_size.max(1) => Ok(items),
            _ => Err(DecodeError { field, offset: start, kind: DecodeErrorKind::ImpossibleCount { count, left } }),
        }
    }

    /// A CompactSize length and that many bytes, as a slice of the payload.
    ///
    /// # Errors
    /// The errors of [`count`](Self::count).
    pub fn var_bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let len = self.count(field, 1)?;
        self.bytes(field, len)
    }

    /// One byte that must be 0 or 1.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] or [`DecodeErrorKind::UndefinedValue`].
    #[inline]
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        let start = self.offset();
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError { field, offset: start, kind: DecodeErrorKind::UndefinedValue(i64::from(other)) }),
        }
    }

    /// Succeeds if everything was read.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TrailingBytes`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error("end of message", DecodeErrorKind::TrailingBytes(left))),
        }
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $from:ident;)*) => {
        impl Reader<'_> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`DecodeErrorKind::Truncated`].
                #[inline]
                pub fn $name(&mut self, field: &'static str) -> Result<$type, DecodeError> {
                    self.array(field).map(<$type>::$from)
                }
            )*
        }
    };
}

numbers! {
    /// One byte.
    u8: u8 = from_le_bytes;
    /// Two bytes, little-endian.
    u16: u16 = from_le_bytes;
    /// Two bytes, big-endian, as ports are written.
    u16_be: u16 = from_be_bytes;
    /// Two bytes, little-endian, signed.
    i16: i16 = from_le_bytes;
    /// Four bytes, little-endian.
    u32: u32 = from_le_bytes;
    /// Four bytes, little-endian, signed.
    i32: i32 = from_le_bytes;
    /// Eight bytes, little-endian.
    u64: u64 = from_le_bytes;
    /// Eight bytes, little-endian, signed.
    i64: i64 = from_le_bytes;
}
