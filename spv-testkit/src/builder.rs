//! The answers of a Dash node: `qrinfo` and `mnlistdiff` built from a [`Chain`] by Dash Core's rules.
//!
//! The functions are pure: the same chain, request and session give the same bytes, which are those of Dash Core
//! (`llmq/snapshot.cpp`, `evo/smldiff.cpp`).

mod diff;
mod qr_info;
mod refusal;

use qrinfo_core::{Reply, message::NetworkMessage};

pub use diff::mn_list_diff;
pub use qr_info::qr_info;
pub use refusal::Refusal;

use crate::{Chain, ServerSession};

/// Answers a request as this version of Dash Core does in a session of this protocol version; a number stands for a
/// session of the newest version. `None` if the message is no request that this answers.
///
/// ```
/// use qrinfo_core::{BlockHash, message::{GetQRInfo, NetworkMessage}};
/// use spv_testkit::{Chain, Recording, builder::{self, Refusal}};
///
/// let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
/// let mut request = GetQRInfo {
///     base_block_hashes: vec![],
///     block_hash: chain.block(1751).ok_or("no block")?.hash,
///     extra_share: true,
/// };
/// let reply = builder::qr_info(&chain, &request, 70237)?;
/// assert_eq!(reply.work_block_hash(), chain.block(1720).ok_or("no block")?.hash);
///
/// request.base_block_hashes.push(BlockHash::ZERO);
/// let answer = builder::answer(&chain, &NetworkMessage::GetQRInfo(request), 70237);
/// assert_eq!(answer, Some(Err(Refusal::UnknownBase(BlockHash::ZERO))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn answer(
    chain: &Chain,
    request: &NetworkMessage,
    session: impl Into<ServerSession>,
) -> Option<Result<Reply, Refusal>> {
    match request {
        NetworkMessage::GetQRInfo(request) => {
            Some(qr_info(chain, request, session).map(|reply| Reply::QrInfo(Box::new(reply))))
        }
        NetworkMessage::GetMnListD(request) => {
            Some(mn_list_diff(chain, request).map(|reply| Reply::MnListDiff(Box::new(reply))))
        }
        _ => None,
    }
}
