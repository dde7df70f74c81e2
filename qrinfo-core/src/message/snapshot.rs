use bytes::BufMut;

use crate::wire::{Bits, DecodeError, DecodeErrorKind, Reader, Wire, put_len};

/// The longest skip list that is accepted. Filling the quarters of 32 quorums passes over each masternode a few times
/// at most, and there are some three thousand.
const MAX_SKIP_LIST: usize = 1 << 16;

/// The mode in which a cycle's quarter is picked from its sorted list (DIP-24).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SkipListMode {
    /// Every entry is taken in turn.
    NoSkipping = 0,
    /// The positions in the skip list are passed over.
    SkipFirst = 1,
    /// All positions but the listed ones are passed over; no quarter is built from it today.
    SkipExcept = 2,
    /// Every entry is passed over; no quarter is built from it today.
    SkipAll = 3,
}

/// The masternodes that a cycle's rotated quorums used, and those that were passed over (DIP-24).
///
/// Nothing in a block proves a snapshot. A false one shows only when the members it leads to do not fit a commitment's
/// signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumSnapshot {
    /// The meaning of `skip_list`.
    pub skip_list_mode: SkipListMode,
    /// One bit per masternode of the list sorted by score; set if the earlier quarters had used it.
    pub active_quorum_members: Bits,
    /// Positions to pass over: the first is absolute, each later one relative to the first.
    pub skip_list: Vec<i32>,
}

impl Wire for QuorumSnapshot {
    const MIN_SIZE: usize = 4 + 1 + 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const MODE: &str = "mnSkipListMode";
        let start = reader.offset();
        let skip_list_mode = match reader.i32(MODE)? {
            0 => SkipListMode::NoSkipping,
            1 => SkipListMode::SkipFirst,
            2 => SkipListMode::SkipExcept,
            3 => SkipListMode::SkipAll,
            other => {
                let kind = DecodeErrorKind::UndefinedValue(i64::from(other));
                return Err(DecodeError { field: MODE, offset: start, kind });
            }
        };
        let active_quorum_members = Bits::decode(reader)?;
        let offset = reader.offset();
        let count = reader.count("mnSkipList", 4)?;
        if count > MAX_SKIP_LIST {
            return Err(DecodeError { field: "mnSkipList", offset, kind: DecodeErrorKind::BadLength(count) });
        }
        let skip_list = (0..count).map(|_| reader.i32("mnSkipList")).collect::<Result<_, _>>()?;
        Ok(Self { skip_list_mode, active_quorum_members, skip_list })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_i32_le(self.skip_list_mode as i32);
        self.active_quorum_members.encode(out);
        put_len(out, self.skip_list.len());
        self.skip_list.iter().for_each(|&position| out.put_i32_le(position));
    }
}
