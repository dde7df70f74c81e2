use qrinfo_core::client::Ban;
use redb::{ReadableTable, TableDefinition};

use crate::{Store, error::Outcome};

/// Peer to the end of its ban and the reason.
const BANS: TableDefinition<'_, &str, (u64, &str)> = TableDefinition::new("bans");

// === impl Store: bans ===

impl Store {
    /// Bans a peer. Replaces an older ban of it.
    ///
    /// # Errors
    /// [`StoreError::Write`](crate::StoreError::Write).
    pub fn ban(&self, ban: &Ban) -> Outcome<()> {
        self.change(|transaction| {
            let mut bans = transaction.open_table(BANS)?;
            bans.insert(ban.peer.to_string().as_str(), (ban.until, ban.reason.as_str()))?;
            Ok(())
        })
    }

    /// The bans that end after `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Read`](crate::StoreError::Read).
    pub fn bans(&self, now: u64) -> Outcome<Vec<Ban>> {
        let bans = self.read_if_there(BANS, |bans| {
            let mut found = Vec::new();
            for entry in bans.iter()? {
                let (peer, value) = entry?;
                let (until, reason) = value.value();
                // This version cannot connect to a peer that it cannot read.
                if let (true, Ok(peer)) = (until > now, peer.value().parse()) {
                    found.push(Ban { peer, until, reason: reason.to_owned() });
                }
            }
            Ok(found)
        })?;
        Ok(bans.unwrap_or_default())
    }
}
