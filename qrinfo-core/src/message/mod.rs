//! The messages of a session that requests rotated quorums, the locks that quorums sign, and their announcements.
//!
//! Names follow dashcore; layouts follow Dash Core 23 at protocol version 70230 and newer.

mod addr;
mod chain_lock;
mod coinbase;
mod commitment;
mod get_mn_list_diff;
mod get_qr_info;
mod headers;
mod headers2;
mod instant_lock;
pub(crate) mod inventory;
mod mn_list_diff;
mod net_info;
mod qr_info;
mod sml_entry;
mod snapshot;
mod version;

use bytes::Bytes;

pub use addr::{Addr, AddrV2, KnownNode, MAX_ADDRESSES, NetAddress};
pub use chain_lock::ChainLock;
pub use coinbase::{Coinbase, CoinbasePayload, CreditPool};
pub use commitment::{Commitment, QuorumIndex};
pub use get_mn_list_diff::GetMnListDiff;
pub use get_qr_info::GetQRInfo;
pub use headers::{GetHeaders, Headers, MAX_HEADERS};
pub use headers2::{HEADERS2_PROTOCOL_VERSION, Headers2, MAX_HEADERS2, NODE_HEADERS_COMPRESSED};
pub use instant_lock::{InstantLock, OutPoint};
pub use inventory::{Inventory, InventoryItem, InventoryKind, MAX_INVENTORY};
pub use mn_list_diff::{DeletedQuorum, MnListDiff, QuorumClSig};
pub use net_info::{NetInfo, NetInfoEntry, NetInfoPurpose};
pub use qr_info::{ExtraShare, QRInfo};
pub use sml_entry::{SmlEntry, SmlEntryKind};
pub use snapshot::{QuorumSnapshot, SkipListMode};
pub use version::{MIN_PROTOCOL_VERSION, PROTOCOL_VERSION, VersionMessage};

use crate::wire::{
    DecodeError, Wire,
    frame::{Command, Frame},
};

/// A message as a [`NetworkManager`](crate::client::NetworkManager) sends and receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkMessage {
    /// A request for rotated quorums.
    GetQRInfo(GetQRInfo),
    /// Its reply.
    QRInfo(Box<QRInfo>),
    /// A request for the difference between two masternode lists.
    GetMnListD(GetMnListDiff),
    /// Its reply.
    MnListDiff(Box<MnListDiff>),
    /// A check that the peer still answers.
    Ping(u64),
    /// Its answer, with the same number.
    Pong(u64),
    /// Any other message, as it came.
    Other(Frame),
}

impl NetworkMessage {
    /// Decodes a frame's payload.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is not what the command says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { command, payload } = frame;
        Ok(match command {
            Command::GET_QR_INFO => Self::GetQRInfo(GetQRInfo::from_wire(payload)?),
            Command::QR_INFO => Self::QRInfo(Box::new(QRInfo::from_wire(payload)?)),
            Command::GET_MN_LIST_DIFF => Self::GetMnListD(GetMnListDiff::from_wire(payload)?),
            Command::MN_LIST_DIFF => Self::MnListDiff(Box::new(MnListDiff::from_wire(payload)?)),
            Command::PING => Self::Ping(nonce(&payload)?),
            Command::PONG => Self::Pong(nonce(&payload)?),
            _ => Self::Other(Frame { command, payload }),
        })
    }

    /// The frame that carries this message.
    ///
    /// ```
    /// use qrinfo_core::message::NetworkMessage;
    ///
    /// let frame = NetworkMessage::Ping(7).to_frame();
    /// assert_eq!(frame.command.to_string(), "ping");
    /// assert_eq!(NetworkMessage::from_frame(frame)?, NetworkMessage::Ping(7));
    /// # Ok::<(), qrinfo_core::wire::DecodeError>(())
    /// ```
    pub fn to_frame(&self) -> Frame {
        let (command, payload) = match self {
            Self::GetQRInfo(message) => (Command::GET_QR_INFO, message.to_wire()),
            Self::QRInfo(message) => (Command::QR_INFO, message.to_wire()),
            Self::GetMnListD(message) => (Command::GET_MN_LIST_DIFF, message.to_wire()),
            Self::MnListDiff(message) => (Command::MN_LIST_DIFF, message.to_wire()),
            Self::Ping(nonce) => (Command::PING, Bytes::copy_from_slice(&nonce.to_le_bytes())),
            Self::Pong(nonce) => (Command::PONG, Bytes::copy_from_slice(&nonce.to_le_bytes())),
            Self::Other(frame) => return frame.clone(),
        };
        Frame { command, payload }
    }
}

fn nonce(payload: &Bytes) -> Result<u64, DecodeError> {
    let mut reader = crate::wire::Reader::new(payload);
    let nonce = reader.u64("nonce")?;
    reader.finish()?;
    Ok(nonce)
}
