//! Replies in the order of the plan, stored and fresh ones: verified, kept, and counted.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use anyhow::{Context, Result};
use qrinfo::{Delivered, verify::Verifier};
use qrinfo_core::{Network, QRInfoRequestSpec, Reply, Request, client::StoredReply, message::QRInfo, wire::Wire};
use qrinfo_verify::{Falsehood, HeaderMap, Level, ListStage, Verified, VerifyError};
use spv_store::Store;
use tokio::task::block_in_place;

use super::output::{Row, Unverified};

/// Takes in the replies of a plan.
pub(super) struct Intake<'a> {
    plan: &'a [QRInfoRequestSpec],
    store: Option<&'a Store>,
    verifier: Verifier,
    /// Positions of requests whose replies are stored and not judged yet.
    stored: BTreeSet<usize>,
    /// The position that is judged next.
    next: usize,
    /// The number of stored requests that were asked again because of the last one that failed.
    asked_again: usize,
    pub(super) rows: Vec<Row>,
    pub(super) unverified: Vec<Unverified>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        network: Network,
        level: Level,
        plan: &'a [QRInfoRequestSpec],
        store: Option<&'a Store>,
        headers: Arc<HeaderMap>,
    ) -> Result<Self> {
        let mut stored = BTreeSet::new();
        for (place, spec) in plan.iter().enumerate() {
            if let Some(store) = store
                && block_in_place(|| store.reply_block(spec.cycle.height()))? == Some(spec.block_hash)
            {
                stored.insert(place);
            }
        }
        let verifier = Verifier::new(ListStage::new(network, level), move |hash| headers.find(hash));
        let (rows, unverified) = (Vec::new(), Vec::new());
        Ok(Self { plan, store, verifier, stored, next: 0, asked_again: 0, rows, unverified })
    }

    /// Takes the stored replies that come next. Gives the requests that have to be asked before the next one of them
    /// can be judged; none at the end of the plan.
    pub(super) async fn next_to_ask(&mut self) -> Result<Range<usize>> {
        while self.stored.remove(&self.next) {
            let Some(spec) = self.plan.get(self.next) else { break };
            if !self.take_stored(spec).await? {
                self.pass_over_more();
                break;
            }
            self.next += 1;
        }
        let end = self.stored.first().copied().unwrap_or(self.plan.len());
        let gap = self.next..end;
        self.next = end;
        Ok(gap)
    }

    /// Returns `true` if stored replies come after the requests that are to be asked now.
    pub(super) fn has_stored(&self) -> bool {
        !self.stored.is_empty()
    }

    /// Takes a fresh reply. An inner error says that the reply is false and has to be asked for again.
    pub(super) async fn take(&mut self, place: usize, delivered: &Delivered) -> Result<Result<(), Falsehood>> {
        let spec = self.plan.get(place).context("a reply to nothing")?;
        match self.verifier.take(spec.clone(), &delivered.reply).await {
            Ok(verified) => {
                if let (Some(store), Reply::QrInfo(reply)) = (self.store, &delivered.reply) {
                    keep(store, spec, QRInfo::clone(reply), &verified)?;
                }
                self.rows.push(Row::fresh(spec.cycle.height(), delivered, &verified));
            }
            Err(VerifyError::False(falsehood)) => return Ok(Err(falsehood)),
            Err(missing) => self.unverified.push(Unverified::new(spec.cycle.height(), &missing)),
        }
        Ok(Ok(()))
    }

    /// Judges a stored reply as if a peer had sent it in this run. One that fails is deleted, and has to be asked for
    /// again: it was verified at a lower level, or the file was changed.
    async fn take_stored(&mut self, spec: &QRInfoRequestSpec) -> Result<bool> {
        let Some(store) = self.store else { return Ok(false) };
        let Some(stored) = block_in_place(|| store.reply(spec.cycle.height()))? else { return Ok(false) };
        let length = stored.payload.len();
        let why = match QRInfo::from_wire(stored.payload) {
            Err(error) => error.to_string(),
            Ok(reply) => {
                let reply = without_stale_tip(spec, reply);
                match self.verifier.take(spec.clone(), &reply).await {
                    Ok(verified) => {
                        self.rows.push(Row::stored(spec, &reply, length, &verified));
                        return Ok(true);
                    }
                    Err(VerifyError::False(falsehood)) => format!("{:#}", anyhow::Error::new(falsehood)),
                    Err(missing) => {
                        self.unverified.push(Unverified::new(spec.cycle.height(), &missing));
                        return Ok(true);
                    }
                }
            }
        };
        eprintln!("qrinfo: the stored reply of cycle {} is asked for again: {why}", spec.cycle.height());
        block_in_place(|| store.delete_reply(spec.cycle.height())).context("cannot delete a stored reply")?;
        Ok(false)
    }

    /// Doubles the number of stored requests that are asked again with each failure. If one stored reply fails, others
    /// often fail too, and one round for each would take long. So a store that is false from end to end takes few
    /// rounds, and a single damaged reply takes one request.
    fn pass_over_more(&mut self) {
        self.asked_again = (2 * self.asked_again).max(1);
        let end = self.next.saturating_add(self.asked_again);
        self.stored = self.stored.split_off(&end);
    }
}

/// A stored reply as the answer to the request of today. Its tip diff may start from a base that is near the tip of its
/// time, and is not sent any more.
fn without_stale_tip(spec: &QRInfoRequestSpec, mut reply: QRInfo) -> Reply {
    let request = Request::from(spec.clone());
    let stored = Reply::QrInfo(Box::new(reply.clone()));
    if request.check_reply(&stored).is_ok() {
        return stored;
    }
    reply.drop_tip_diff();
    Reply::QrInfo(Box::new(reply))
}

/// Keeps a reply, without a tip diff that is not proven: a peer can fill it with anything.
fn keep(store: &Store, spec: &QRInfoRequestSpec, mut reply: QRInfo, verified: &Verified) -> Result<()> {
    if verified.tip.is_none() {
        reply.drop_tip_diff();
    }
    let stored =
        StoredReply { cycle_height: spec.cycle.height(), block_hash: spec.block_hash, payload: reply.to_wire() };
    block_in_place(|| store.store_reply(&stored)).context("cannot keep a reply")
}

#[cfg(test)]
mod tests {
    use qrinfo::plan::Planner;
    use spv_testkit::{Answer, Recording};

    use super::*;

    /// The tip has moved since, and the plan has another anchor.
    #[test]
    fn a_stored_reply_outlives_its_anchor() {
        let recording = Recording::bundled().unwrap();
        let hash_at = |height| recording.block_hash(height);
        let planner =
            Planner { anchor: Some(recording.anchor()), ..Planner::new(recording.network(), recording.tip()) };
        let anchor = hash_at(recording.anchor()).unwrap();
        let mut stale = 0;
        for mut spec in planner.plan(240, recording.tip(), hash_at).unwrap() {
            let request = Request::from(spec.clone()).to_message().to_frame();
            let exchange = recording.exchanges().iter().find(|exchange| exchange.request == request.payload).unwrap();
            let Answer::Reply(payload) = &exchange.answer else { continue };
            let reply = QRInfo::from_wire(payload.clone()).unwrap();
            spec.base_block_hashes.retain(|base| *base != anchor);
            let is_stale = Request::from(spec.clone()).check_reply(&Reply::QrInfo(Box::new(reply.clone()))).is_err();
            stale += u32::from(is_stale);
            let answer = without_stale_tip(&spec, reply);
            assert_eq!(Request::from(spec.clone()).check_reply(&answer), Ok(()), "{}", spec.cycle.height());
        }
        assert!(stale > 10, "{stale}");
    }
}
