use bytes::BufMut;

use crate::{
    chain::Hash256,
    wire::{DecodeError, Reader, Seq, Wire},
};

/// The most items in one message (Dash Core's `MAX_INV_SZ`).
pub const MAX_INVENTORY: usize = 50_000;

/// The payload of `inv`, `getdata` and `notfound`: at most 50,000 items that the sender has, asks for, or does not have.
///
/// ```
/// use qrinfo_core::{Hash256, message::{Inventory, InventoryItem, InventoryKind}, wire::Wire};
///
/// let item = InventoryItem { kind: InventoryKind::CHAIN_LOCK, hash: Hash256::from_bytes([7; 32]) };
/// let announced: Inventory = [item].into_iter().collect();
/// assert_eq!(announced.to_wire().len(), 1 + 36);
/// assert_eq!(Inventory::from_wire(announced.to_wire())?, announced);
/// # Ok::<(), qrinfo_core::wire::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory(pub Seq<InventoryItem>);

/// The name of something that a node sends on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InventoryItem {
    /// The kind of thing.
    pub kind: InventoryKind,
    /// Its hash.
    pub hash: Hash256,
}

/// The number of a kind of thing (Dash Core's `GetDataMsg`). Any number is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InventoryKind(pub u32);

// === impl Inventory ===

impl Wire for Inventory {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Seq::decode_at_most(MAX_INVENTORY, reader).map(Self)
    }

    fn encode(&self, out: &mut impl BufMut) {
        self.0.encode(out);
    }
}

impl FromIterator<InventoryItem> for Inventory {
    fn from_iter<I: IntoIterator<Item = InventoryItem>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

// === impl InventoryItem ===

impl Wire for InventoryItem {
    const MIN_SIZE: usize = 36;

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { kind: InventoryKind(reader.u32("inventory kind")?), hash: Hash256::decode(reader)? })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u32_le(self.kind.0);
        self.hash.encode(out);
    }
}

// === impl InventoryKind ===

impl InventoryKind {
    /// A block.
    pub const BLOCK: Self = Self(2);
    /// A [`ChainLock`](super::ChainLock).
    pub const CHAIN_LOCK: Self = Self(29);
    /// An [`InstantLock`](super::InstantLock).
    pub const INSTANT_LOCK: Self = Self(31);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DecodeErrorKind, frame};

    /// A ChainLock and an InstantSend lock, byte for byte.
    #[test]
    fn an_announcement_of_locks_reads_as_it_is_written() {
        let wire = [&b"\x02\x1d\0\0\0"[..], &[1; 32], b"\x1f\0\0\0", &[2; 32]].concat();
        let inventory = Inventory::from_wire(wire.clone()).unwrap();
        let items = [(InventoryKind::CHAIN_LOCK, 1), (InventoryKind::INSTANT_LOCK, 2)];
        let items = items.map(|(kind, byte)| InventoryItem { kind, hash: Hash256::from_bytes([byte; 32]) });
        assert_eq!(inventory.0.to_vec(), items);
        assert_eq!(inventory.to_wire(), wire);
        for len in 0..wire.len() {
            Inventory::from_wire(wire[..len].to_vec()).unwrap_err();
        }
    }

    /// The longest fits into a frame, and one item more is refused before any is read.
    #[test]
    fn fifty_thousand_items_are_the_most() {
        let item = |_| InventoryItem { kind: InventoryKind(u32::MAX), hash: Hash256::ZERO };
        let longest: Inventory = (0..MAX_INVENTORY).map(item).collect();
        assert_eq!(Inventory::from_wire(longest.to_wire()).unwrap(), longest);
        for command in [frame::Command::INV, frame::Command::GET_DATA, frame::Command::NOT_FOUND] {
            assert_eq!(longest.to_wire().len(), frame::max_payload(command));
        }
        let longer: Inventory = (0..=MAX_INVENTORY).map(item).collect();
        let error = Inventory::from_wire(longer.to_wire()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::BadLength(MAX_INVENTORY + 1));
    }
}
