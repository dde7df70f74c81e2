//! Strict decoding, exact encoding, and message frames.

mod bits;
mod error;
pub mod frame;
mod reader;
mod seq;

use bytes::{BufMut, Bytes, BytesMut};

pub use bits::Bits;
pub use error::{DecodeError, DecodeErrorKind};
pub use reader::Reader;
pub use seq::{Seq, SeqIter};

/// Something with exactly one form on the wire.
///
/// Decoding accepts that form alone, so encoding a decoded value gives back the same bytes. All numbers are
/// little-endian unless a field says otherwise.
pub trait Wire: Sized {
    /// The fewest bytes a value can take; bounds a list's count by the bytes that are left before anything is
    /// allocated.
    const MIN_SIZE: usize;

    /// Reads one value.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and the offset at which the bytes stop making sense.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads past one value, with the same checks. A type that owns memory does it without.
    ///
    /// # Errors
    /// The errors of [`decode`](Self::decode).
    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        Self::decode(reader).map(drop)
    }

    /// Appends the value's bytes.
    fn encode(&self, out: &mut impl BufMut);

    /// Decodes a whole message payload; bytes left over are an error. Big parts of the result are slices of `payload`.
    ///
    /// # Errors
    /// The errors of [`decode`](Self::decode), and [`DecodeErrorKind::TrailingBytes`].
    fn from_wire(payload: impl Into<Bytes>) -> Result<Self, DecodeError> {
        let payload = payload.into();
        let mut reader = Reader::new(&payload);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }

    /// The value's bytes.
    fn to_wire(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

/// Appends a CompactSize: 1, 3, 5 or 9 bytes, always the shortest form.
pub(crate) fn put_compact_size(out: &mut impl BufMut, value: u64) {
    if let Ok(small) = u8::try_from(value)
        && small < 0xfd
    {
        out.put_u8(small);
    } else if let Ok(value) = u16::try_from(value) {
        out.put_u8(0xfd);
        out.put_u16_le(value);
    } else if let Ok(value) = u32::try_from(value) {
        out.put_u8(0xfe);
        out.put_u32_le(value);
    } else {
        out.put_u8(0xff);
        out.put_u64_le(value);
    }
}

/// Appends a CompactSize length and the bytes: what [`Reader::var_bytes`] reads.
pub fn put_var_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.put_slice(bytes);
}

/// Appends the length of something in memory as a CompactSize.
pub(crate) fn put_len(out: &mut impl BufMut, len: usize) {
    put_compact_size(out, len as u64);
}
