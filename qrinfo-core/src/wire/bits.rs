use bytes::{BufMut, Bytes};

use super::{DecodeError, DecodeErrorKind, Reader, Wire, put_len};

/// A row of bits in its wire form: a CompactSize count of bits, then the bits, least significant first.
///
/// ```
/// use qrinfo_core::wire::{Bits, Wire};
///
/// let bits: Bits = [true, false, true].into_iter().collect();
/// assert_eq!(bits.to_wire()[..], [3, 0b101]);
/// assert_eq!((bits.len(), bits.count_ones(), bits.get(2), bits.get(3)), (3, 2, Some(true), None));
/// assert!(Bits::from_wire(vec![3, 0b1101]).is_err(), "padding bits must be zero");
/// # Ok::<(), qrinfo_core::wire::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, derive_more::Debug)]
#[debug("Bits({} of {len})", self.count_ones())]
pub struct Bits {
    len: usize,
    bytes: Bytes,
}

impl Bits {
    /// The number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no bits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bit at `index`, or `None` beyond the end.
    pub fn get(&self, index: usize) -> Option<bool> {
        let byte = self.bytes.get(index / 8).filter(|_| index < self.len)?;
        Some(byte >> (index % 8) & 1 == 1)
    }

    /// The bits in order.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        self.bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).take(self.len)
    }

    /// The number of bits that are set.
    pub fn count_ones(&self) -> usize {
        // Padding bits are zero, so whole bytes can be counted.
        self.bytes.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// The packed bytes, without the count before them.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

// === impl Bits ===

impl Wire for Bits {
    const MIN_SIZE: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (len, bytes) = read(reader)?;
        Ok(Self { len, bytes: reader.since(reader.offset() - bytes.len()) })
    }

    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        read(reader).map(drop)
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_len(out, self.len);
        out.put_slice(&self.bytes);
    }
}

/// The number of bits, and the bytes that hold them.
#[inline]
fn read<'a>(reader: &mut Reader<'a>) -> Result<(usize, &'a [u8]), DecodeError> {
    let start = *reader;
    let count = reader.compact_size("bit count")?;
    let left = reader.remaining();
    let Some(len) = usize::try_from(count).ok().filter(|len| len.div_ceil(8) <= left) else {
        return Err(start.error("bit count", DecodeErrorKind::ImpossibleCount { count, left }));
    };
    let bytes = reader.slice("bits", len.div_ceil(8))?;
    if let (Some(last), used @ 1..) = (bytes.last(), len % 8)
        && last >> used != 0
    {
        let offset = reader.offset() - 1;
        return Err(DecodeError { field: "bits", offset, kind: DecodeErrorKind::PaddingBits });
    }
    Ok((len, bytes))
}

impl FromIterator<bool> for Bits {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut bytes = Vec::new();
        let mut len = 0;
        for bit in bits {
            if len % 8 == 0 {
                bytes.push(0);
            }
            if let Some(last) = bytes.last_mut() {
                *last |= u8::from(bit) << (len % 8);
            }
            len += 1;
        }
        Self { len, bytes: bytes.into() }
    }
}
