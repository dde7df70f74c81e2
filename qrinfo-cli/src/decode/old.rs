//! Layouts of protocols that are not decoded here, so that a message in one of them can be named.
//!
//! Older nodes wrote `mnlistdiff` without its version (up to protocol 70224), or with the version behind the coinbase
//! (up to 70228); its entries had no type before 70227 and no version before 70228. Protocol 70229 has the version in
//! front and no `quorumsCLSigs` yet.

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256, ProTxHash,
    message::{Coinbase, Commitment, DeletedQuorum, QuorumSnapshot, SmlEntry},
    wire::{DecodeError, Reader, Seq, Wire},
};

/// The least that an entry takes: that of the oldest layout, which has neither version nor type.
const MIN_ENTRY: usize = 32 + 32 + 16 + 2 + 48 + 20 + 1;

/// The position of the version in a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Absent,
    BehindCoinbase,
    First,
}

/// The form of a diff's entries.
#[derive(Debug, Clone, Copy)]
enum Entry {
    Plain,
    Typed,
    Versioned,
}

#[derive(Debug, Clone, Copy)]
struct Layout(Version, Entry);

const UP_TO_70228: [Layout; 4] = [
    Layout(Version::BehindCoinbase, Entry::Versioned),
    Layout(Version::BehindCoinbase, Entry::Typed),
    Layout(Version::BehindCoinbase, Entry::Plain),
    Layout(Version::Absent, Entry::Plain),
];

const OF_70229: Layout = Layout(Version::First, Entry::Versioned);

/// Names the old layout that a payload has from its first byte to its last.
pub(super) fn layout(payload: &Bytes) -> Option<&'static str> {
    let fits = |layout: Layout| layout.reads(payload, Layout::qr_info) || layout.reads(payload, Layout::diff);
    if UP_TO_70228.into_iter().any(fits) {
        return Some("layout of protocol 70228 or older");
    }
    fits(OF_70229).then_some("layout of protocol 70229")
}

// === impl Layout ===

impl Layout {
    fn reads(self, payload: &Bytes, message: fn(Self, &mut Reader<'_>) -> Result<(), DecodeError>) -> bool {
        let mut reader = Reader::new(payload);
        message(self, &mut reader).and_then(|()| reader.finish()).is_ok()
    }

    fn qr_info(self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        (0..3).try_for_each(|_| QuorumSnapshot::decode(reader).map(drop))?;
        (0..5).try_for_each(|_| self.diff(reader))?;
        if reader.bool("extraShare")? {
            QuorumSnapshot::decode(reader)?;
            self.diff(reader)?;
        }
        Seq::<Commitment>::decode(reader)?;
        let snapshots = reader.count("quorumSnapshotList", QuorumSnapshot::MIN_SIZE)?;
        (0..snapshots).try_for_each(|_| QuorumSnapshot::decode(reader).map(drop))?;
        let diffs = reader.count("mnListDiffList", Coinbase::MIN_SIZE)?;
        (0..diffs).try_for_each(|_| self.diff(reader))
    }

    fn diff(self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.version(Version::First, reader)?;
        BlockHash::decode(reader)?;
        BlockHash::decode(reader)?;
        reader.u32("totalTransactions")?;
        Seq::<Hash256>::decode(reader)?;
        reader.var_bytes("merkleFlags")?;
        Coinbase::decode(reader)?;
        self.version(Version::BehindCoinbase, reader)?;
        Seq::<ProTxHash>::decode(reader)?;
        let entries = reader.count("mnList", MIN_ENTRY)?;
        (0..entries).try_for_each(|_| self.entry(reader))?;
        Seq::<DeletedQuorum>::decode(reader)?;
        Seq::<Commitment>::decode(reader).map(drop)
    }

    fn version(self, place: Version, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if self.0 == place {
            reader.u16("nVersion")?;
        }
        Ok(())
    }

    fn entry(self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match self.1 {
            Entry::Versioned => SmlEntry::decode(reader).map(drop),
            Entry::Plain => plain_entry(reader),
            Entry::Typed => {
                plain_entry(reader)?;
                match reader.u16("entry type")? {
                    // platformHTTPPort, platformNodeID
                    1 => reader.bytes("entry", 2 + 20).map(drop),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn plain_entry(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    reader.bytes("entry", MIN_ENTRY - 1)?;
    reader.bool("isValid").map(drop)
}
