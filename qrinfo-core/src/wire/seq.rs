use std::{fmt, marker::PhantomData};

use bytes::{BufMut, Bytes, BytesMut};

use super::{DecodeError, DecodeErrorKind, Reader, Wire, put_len};

/// A counted list of `T` that stays in its wire bytes.
///
/// The bytes are checked once, when the list is decoded; items are read again each time the list is walked. A list
/// therefore takes as much memory as it took on the wire, and usually shares it with the frame it came in.
///
/// ```
/// use qrinfo_core::{Hash256, wire::{Seq, Wire}};
///
/// let list: Seq<Hash256> = [Hash256::ZERO, Hash256::from_bytes([7; 32])].into_iter().collect();
/// assert_eq!(list.len(), 2);
/// assert_eq!(list.iter().last(), Some(Hash256::from_bytes([7; 32])));
/// assert_eq!(Seq::from_wire(list.to_wire())?, list);
/// # Ok::<(), qrinfo_core::wire::DecodeError>(())
/// ```
pub struct Seq<T> {
    len: usize,
    bytes: Bytes,
    item: PhantomData<fn() -> T>,
}

impl<T: Wire> Seq<T> {
    /// The number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items' bytes, without the count before them.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The items, decoded one after another.
    pub fn iter(&self) -> SeqIter<T> {
        SeqIter { left: self.len, reader: Reader::new(self.bytes.clone()), item: PhantomData }
    }

    /// Decodes a list of no more than `most` items.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] for a greater count, before any item is read; else as `T`.
    pub fn decode_at_most(most: usize, reader: &mut Reader) -> Result<Self, DecodeError> {
        let name = std::any::type_name::<T>();
        let field = name.rsplit("::").next().unwrap_or(name);
        let offset = reader.offset();
        let len = reader.count(field, T::MIN_SIZE)?;
        if len > most {
            return Err(DecodeError { field, offset, kind: DecodeErrorKind::BadLength(len) });
        }
        let rest = reader.rest();
        let start = reader.offset();
        for _ in 0..len {
            T::decode(reader)?;
        }
        Ok(Self { len, bytes: rest.slice(..reader.offset() - start), item: PhantomData })
    }

    /// The items, decoded.
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().collect()
    }
}

// === impl Seq ===

impl<T: Wire> Wire for Seq<T> {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Self::decode_at_most(usize::MAX, reader)
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_len(out, self.len);
        out.put_slice(&self.bytes);
    }
}

impl<T: Wire> FromIterator<T> for Seq<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut bytes = BytesMut::new();
        let mut len = 0;
        for item in items {
            item.encode(&mut bytes);
            len += 1;
        }
        Self { len, bytes: bytes.freeze(), item: PhantomData }
    }
}

impl<T> Default for Seq<T> {
    fn default() -> Self {
        Self { len: 0, bytes: Bytes::new(), item: PhantomData }
    }
}

impl<T> Clone for Seq<T> {
    fn clone(&self) -> Self {
        Self { len: self.len, bytes: self.bytes.clone(), item: PhantomData }
    }
}

impl<T> PartialEq for Seq<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.bytes == other.bytes
    }
}

impl<T> Eq for Seq<T> {}

impl<T: Wire + fmt::Debug> fmt::Debug for Seq<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Wire> IntoIterator for &Seq<T> {
    type Item = T;
    type IntoIter = SeqIter<T>;

    fn into_iter(self) -> SeqIter<T> {
        self.iter()
    }
}

/// The items of a [`Seq`].
#[derive(Debug)]
pub struct SeqIter<T> {
    left: usize,
    reader: Reader,
    item: PhantomData<fn() -> T>,
}

impl<T: Wire> Iterator for SeqIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        // A `Seq` holds only bytes that decoded before or that were encoded from values.
        T::decode(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
