//! Public keys before and since v19: the same coordinate behind other flags.

/// The bits of a key's first byte that belong to the coordinate.
const COORDINATE: u8 = 0x1f;
/// The two flags of the standard encoding (Zcash's) that matter here: compressed, and the greater of the two points.
const COMPRESSED: u8 = 0x80;
const GREATER: u8 = 0x20;
/// The one flag of the legacy encoding: the greater of the two points.
const LEGACY_GREATER: u8 = 0x80;

/// A key of the legacy encoding in the standard one: the same coordinate behind other flags. As Dash Core reads it, the
/// two bits below the flag mean nothing.
pub(crate) fn from_legacy_encoding(mut key: [u8; 48]) -> [u8; 48] {
    let [first, ..] = &mut key;
    let sign = if *first & LEGACY_GREATER != 0 { GREATER } else { 0 };
    *first = *first & COORDINATE | COMPRESSED | sign;
    key
}

/// A key of the standard encoding in the legacy one.
#[cfg(feature = "legacy-bls")]
pub(crate) fn to_legacy_encoding(mut key: [u8; 48]) -> [u8; 48] {
    let [first, ..] = &mut key;
    let sign = if *first & GREATER != 0 { LEGACY_GREATER } else { 0 };
    *first = *first & COORDINATE | sign;
    key
}
