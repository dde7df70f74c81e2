//! Replies in the order of the plan, stored and fresh ones: verified, kept, and counted.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use qrinfo::{Delivered, storage::Store, verify::Verifier};
use qrinfo_core::{Network, QRInfoRequestSpec, Reply, Request, client::StoredReply, message::QRInfo, wire::Wire};
use qrinfo_verify::{Falsehood, HeaderMap, Level, ListStage, VerifyError};

use super::output::{Row, Unverified};

/// Takes in the replies of a plan.
pub(super) struct Intake<'a> {
    plan: &'a [QRInfoRequestSpec],
    store: Option<&'a Store>,
    verifier: Verifier,
    /// Positions of requests whose replies are stored.
    stored: BTreeSet<usize>,
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
            if load(store, spec)?.is_some() {
                stored.insert(place);
            }
        }
        let verifier = Verifier::new(ListStage::new(network, level), move |hash| headers.find(hash));
        Ok(Self { plan, store, verifier, stored, rows: Vec::new(), unverified: Vec::new() })
    }

    /// Positions of the requests that have to be asked for.
    pub(super) fn to_ask(&self) -> Vec<usize> {
        (0..self.plan.len()).filter(|place| !self.stored.contains(place)).collect()
    }

    /// Takes a fresh reply, after those stored that come before it. An inner error says that it is false, and is to be
    /// asked for again.
    pub(super) async fn take(&mut self, place: usize, delivered: &Delivered) -> Result<Result<(), Falsehood>> {
        self.take_stored(place).await?;
        let spec = self.plan.get(place).context("a reply to nothing")?;
        match self.verifier.take(spec.clone(), &delivered.reply).await {
            Ok(verified) => {
                if let (Some(store), Reply::QrInfo(reply)) = (self.store, &delivered.reply) {
                    keep(store, spec, reply.to_wire())?;
                }
                self.rows.push(Row::fresh(spec.cycle_height, delivered, &verified));
            }
            Err(VerifyError::False(falsehood)) => return Ok(Err(falsehood)),
            Err(missing) => self.unverified.push(Unverified::new(spec.cycle_height, &missing)),
        }
        Ok(Ok(()))
    }

    /// Takes the stored replies that come before a position.
    pub(super) async fn take_stored(&mut self, before: usize) -> Result<()> {
        while let Some(place) = self.stored.first().copied().filter(|place| *place < before) {
            self.stored.remove(&place);
            let spec = self.plan.get(place).context("a stored reply to nothing")?;
            let (spec, reply, length) = load(self.store, spec)?.context("a stored reply is gone")?;
            match self.verifier.take(spec.clone(), &reply).await {
                Ok(verified) => self.rows.push(Row::stored(&spec, &reply, length, &verified)),
                Err(error) => self.unverified.push(Unverified::new(spec.cycle_height, &error)),
            }
        }
        Ok(())
    }
}

/// The stored reply to a request, its length, and the request that it answers.
fn load(store: Option<&Store>, spec: &QRInfoRequestSpec) -> Result<Option<(QRInfoRequestSpec, Reply, usize)>> {
    let Some(store) = store else { return Ok(None) };
    let stored = tokio::task::block_in_place(|| store.reply(spec.cycle_height))?;
    let Some(stored) = stored.filter(|stored| stored.block_hash == spec.block_hash) else { return Ok(None) };
    let length = stored.payload.len();
    let Ok(reply) = QRInfo::from_wire(stored.payload) else { return Ok(None) };
    // The anchor moves with the tip. The tip diff that starts from it is never applied, so an older one will do.
    let mut spec = spec.clone();
    spec.base_block_hashes.push(reply.mn_list_diff_tip.base_block_hash);
    let reply = Reply::QrInfo(Box::new(reply));
    Ok(Request::from(spec.clone()).check_reply(&reply).is_ok().then_some((spec, reply, length)))
}

fn keep(store: &Store, spec: &QRInfoRequestSpec, payload: Bytes) -> Result<()> {
    let stored = StoredReply { cycle_height: spec.cycle_height, block_hash: spec.block_hash, payload };
    tokio::task::block_in_place(|| store.store_reply(&stored)).context("cannot keep a reply")
}
