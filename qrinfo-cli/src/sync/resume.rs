//! What an earlier sync has brought already.

use anyhow::{Context, Result};
use qrinfo::storage::Store;
use qrinfo_core::{QRInfoRequestSpec, Reply, Request, client::StoredReply, message::QRInfo, wire::Wire};

use super::output::Row;

/// A plan, parted into what is stored and what has to be asked for.
pub(super) struct Resume {
    pub(super) rows: Vec<Row>,
    pub(super) todo: Vec<QRInfoRequestSpec>,
}

impl Resume {
    pub(super) fn of(plan: Vec<QRInfoRequestSpec>, store: Option<&Store>) -> Result<Self> {
        let mut resume = Self { rows: Vec::new(), todo: Vec::new() };
        for spec in plan {
            let stored = match store {
                Some(store) => store.reply(spec.cycle_height)?,
                None => None,
            };
            match stored.as_ref().and_then(|stored| answer(&spec, stored)) {
                Some(row) => resume.rows.push(row),
                None => resume.todo.push(spec),
            }
        }
        Ok(resume)
    }
}

/// Keeps a reply for the next run.
pub(super) fn keep(store: &Store, spec: &QRInfoRequestSpec, reply: &Reply) -> Result<()> {
    let Reply::QrInfo(reply) = reply else { return Ok(()) };
    let stored = StoredReply { cycle_height: spec.cycle_height, block_hash: spec.block_hash, payload: reply.to_wire() };
    tokio::task::block_in_place(|| store.store_reply(&stored)).context("cannot keep a reply")
}

/// The row of a stored reply, if it answers the request.
fn answer(spec: &QRInfoRequestSpec, stored: &StoredReply) -> Option<Row> {
    if stored.block_hash != spec.block_hash {
        return None;
    }
    let reply = QRInfo::from_wire(stored.payload.clone()).ok()?;
    // The anchor moves with the tip. The tip diff that starts from it is never applied, so an older one will do.
    let mut spec = spec.clone();
    spec.base_block_hashes.push(reply.mn_list_diff_tip.base_block_hash);
    let cycle = spec.cycle_height;
    let row = Row::stored(&reply, cycle, stored.payload.len());
    Request::from(spec).check_reply(&Reply::QrInfo(Box::new(reply))).ok().map(|()| row)
}
