use crate::chain::BlockHash;

/// The way in which a well-formed reply fails to answer a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A reply of the other kind.
    #[error("expected {expected}, got {got}")]
    Message {
        /// The command that answers the request.
        expected: &'static str,
        /// The command that came.
        got: &'static str,
    },
    /// A diff of a `qrinfo` leads to a block other than the cycle's work block.
    #[error("expected the work block of H-{cycles_back}C to be {expected}, got {got}")]
    WorkBlock {
        /// The number of cycles before the requested one.
        cycles_back: u32,
        /// The work block by our headers.
        expected: BlockHash,
        /// The target of the diff that came.
        got: BlockHash,
    },
    /// A diff starts from a block that was not sent as a base, is not genesis, and is the target of no other diff of the
    /// reply.
    #[error(
        "the diff to {target} starts from {got}, which is neither a base that was sent nor the target of another diff"
    )]
    Base {
        /// The diff's target.
        target: BlockHash,
        /// The diff's base.
        got: BlockHash,
    },
    /// A `mnlistdiff` leads to a block other than the requested one.
    #[error("expected a diff to {expected}, got one to {got}")]
    Target {
        /// The block asked for.
        expected: BlockHash,
        /// The target of the diff that came.
        got: BlockHash,
    },
    /// The part for `H-4C` is present although it was not requested, or missing.
    #[error("the extra share {}", if *.expected { "is missing" } else { "was not requested" })]
    ExtraShare {
        /// True if it was requested.
        expected: bool,
    },
}
