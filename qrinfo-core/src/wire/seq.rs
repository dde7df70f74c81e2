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
    pub fn iter(&self) -> SeqIter<'_, T> {
        SeqIter { left: self.len, reader: Reader::new(&self.bytes), item: PhantomData }
    }

    /// Decodes a list of no more than `most` items.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] for a greater count, before any item is read; else as `T`.
    pub fn decode_at_most(most: usize, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let before = *reader;
        let len = reader.count("", T::MIN_SIZE).map_err(|error| DecodeError { field: name::<T>(), ..error })?;
        if len > most {
            return Err(before.error(name::<T>(), DecodeErrorKind::BadLength(len)));
        }
        let start = reader.offset();
        for _ in 0..len {
            T::skip(reader)?;
        }
        Ok(Self { len, bytes: reader.since(start), item: PhantomData })
    }

    /// The items, decoded.
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().collect()
    }
}

/// The name of `T` alone, as errors give it.
#[cold]
fn name<T>() -> &'static str {
    let path = std::any::type_name::<T>();
    path.rsplit("::").next().unwrap_or(path)
}

// === impl Seq ===

impl<T: Wire> Wire for Seq<T> {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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

impl<'a, T: Wire> IntoIterator for &'a Seq<T> {
    type Item = T;
    type IntoIter = SeqIter<'a, T>;

    fn into_iter(self) -> SeqIter<'a, T> {
        self.iter()
    }
}

/// The items of a [`Seq`].
#[derive(Debug)]
pub struct SeqIter<'a, T> {
    left: usize,
    reader: Reader<'a>,
    item: PhantomData<fn() -> T>,
}

impl<T: Wire> Iterator for SeqIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        // A `Seq` holds only bytes that decoded before or that were encoded from values.
        T::decode(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
