use std::{num::NonZeroUsize, thread};

use qrinfo_core::{BlockHash, Network, Reply, Request};

use super::{
    application::{Application, Applied},
    check::check,
    error::{DiffName, VerifyError},
    kept::Kept,
    level::{Level, Unproven},
    signatures::VerifiedQuorum,
};
use crate::{headers::KnownBlock, lists::Lists};

/// Applies replies in the order of their plan and proves the resulting lists.
///
/// Each reply's diffs are applied in ascending order of their targets' heights. After each diff the roots of both lists
/// must equal those in the target's coinbase, which the header proves. A tip diff that starts from an anchor is never
/// applied, because the list of an anchor is unknown.
///
/// A reply counts as a whole or leaves the stage unchanged, so that its request can be sent to another peer.
///
/// The stage keeps the lists that later requests of a plan start from: those of the last seven work blocks, the newest
/// tip, the [pinned](Self::pin) lists, and of `mnlistdiff` replies the 8 highest at work blocks and the 32 highest others. They share unchanged entries. A list
/// whose quorums no coinbase commits to (before DIP-8) is returned and not kept.
///
/// ```
/// use qrinfo_core::{AttemptErrorKind, Network, QRInfoRequestSpec, Reply, Request};
/// use qrinfo_verify::{HeaderMap, Level, ListStage, VerifyError};
///
/// /// Handles the next reply of the plan.
/// fn deliver(stage: &mut ListStage, headers: &HeaderMap, request: &Request, reply: &Reply) -> Result<(), VerifyError> {
///     match stage.apply(request, reply, |hash| headers.find(hash)) {
///         Ok(verified) => {
///             println!("{:?}, not proven: {:?}", verified.lists, verified.unproven);
///             Ok(())
///         }
///         // Nothing changed: submit the request again, and avoid the peer that sent this reply.
///         Err(VerifyError::False(falsehood)) => {
///             println!("failed the check {:?}: {falsehood}", falsehood.label());
///             Ok(())
///         }
///         Err(missing) => Err(missing),
///     }
/// }
///
/// let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
/// # let _ = deliver;
/// assert!(stage.lists(0).is_some_and(|lists| lists.masternodes().is_empty()));
/// ```
#[derive(Debug, Clone)]
pub struct ListStage {
    network: Network,
    level: Level,
    threads: NonZeroUsize,
    kept: Kept,
}

/// The result of a true reply.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The level to which it was verified.
    pub level: Level,
    /// The lists at the work block of the requested cycle, or at the target of an `mnlistdiff`. `None` at
    /// [`Level::Structure`] alone.
    pub lists: Option<Lists>,
    /// The lists at the peer's tip, unless the tip diff was set aside.
    pub tip: Option<Lists>,
    /// The quorums whose signatures were checked, at [`Level::Full`], without those of earlier replies.
    pub quorums: Vec<VerifiedQuorum>,
    /// The parts of the reply that are not proven. Empty if everything is.
    pub unproven: Vec<Unproven>,
}

// === impl ListStage ===

impl ListStage {
    /// Creates a stage that has only the empty lists at genesis.
    pub fn new(network: Network, level: Level) -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { network, level, threads, kept: Kept::at_genesis(network) }
    }

    /// Sets the number of threads that verify signatures at [`Level::Full`], the calling one included. The default is
    /// the number of cores.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// Keeps lists permanently, for plans that start from them. They are trusted.
    pub fn pin(&mut self, lists: Lists) {
        self.kept.pin(lists);
    }

    /// Returns the level to which replies are verified.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the lists at a height, if they are kept.
    pub fn lists(&self, height: u32) -> Option<&Lists> {
        self.kept.at(height)
    }

    /// Iterates over all kept lists, in no particular order.
    pub fn kept(&self) -> impl Iterator<Item = &Lists> {
        self.kept.iter()
    }

    /// Verifies a reply and, if it is true, keeps its lists.
    ///
    /// This includes [`check`]; repeating that check for a reply costs some microseconds. `headers` answers for our best
    /// chain, as there. Lists of blocks that have left the chain are dropped.
    ///
    /// # Errors
    /// [`Falsehood`](crate::Falsehood) names the check and the part of the reply, [`Missing`](crate::Missing) names
    /// the data that our side lacks. In both cases the stage is unchanged.
    pub fn apply(
        &mut self,
        request: &Request,
        reply: &Reply,
        headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
    ) -> Result<Verified, VerifyError> {
        let checked = check(request, reply, &headers)?;
        let level = self.level;
        if level == Level::Structure {
            return Ok(Verified {
                level,
                lists: None,
                tip: None,
                quorums: Vec::new(),
                unproven: vec![Unproven::Lists],
            });
        }
        let threads = (level == Level::Full).then_some(self.threads);
        let application = Application::new(self.network, &self.kept, &headers);
        let Applied { mut fresh, quorums, verified, unproven } = application.run(request, &checked, threads)?;
        let find = |name| fresh.iter().find(|(fresh, _)| *fresh == name).map(|(_, lists)| lists.clone());
        let lists = find(match request {
            Request::QrInfo(_) => DiffName::Cycle { back: 0 },
            Request::MnListDiff(_) => DiffName::Requested,
        });
        let tip = find(DiffName::Tip);
        // No later diff can start from quorums that no coinbase commits to. Lists of unknown blocks are not kept either.
        fresh.retain(|(_, lists)| !unproven.contains(&Unproven::Quorums { height: lists.height() }));
        self.kept.add(request, fresh, &headers);
        self.kept.add_verified(verified);
        Ok(Verified { level, lists, tip, quorums, unproven })
    }
}
