/// Error of bytes that the wire format does not allow: the field, its offset and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} at byte {offset}: {kind}")]
pub struct DecodeError {
    /// The field that was being read.
    pub field: &'static str,
    /// The offset of that field, in bytes from the start of the payload.
    pub offset: usize,
    /// The reason.
    pub kind: DecodeErrorKind,
}

/// The reason why a field cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The payload ends inside the field.
    #[error("{needed} bytes are needed and {left} are left")]
    Truncated {
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// A count of items that cannot fit in the bytes that are left.
    #[error("a count of {count} cannot fit in the {left} bytes left")]
    ImpossibleCount {
        /// The count as sent.
        count: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A CompactSize that is not in its shortest form.
    #[error("a CompactSize of {0} is not in its shortest form")]
    NonMinimalCompactSize(u64),
    /// A bit field whose last byte has bits set beyond its length.
    #[error("padding bits are set")]
    PaddingBits,
    /// A version, type or flag that is not defined.
    #[error("{0} is not a defined value")]
    UndefinedValue(i64),
    /// A length that the rules of the field do not allow.
    #[error("a length of {0} is not allowed here")]
    BadLength(usize),
    /// Items that the format wants in ascending order are not.
    #[error("items are not in ascending order")]
    Unsorted,
    /// The message is complete and bytes are left.
    #[error("{0} bytes are left over")]
    TrailingBytes(usize),
}
