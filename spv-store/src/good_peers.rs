use std::collections::BTreeMap;

use qrinfo_core::PeerId;
use redb::{ReadableTable, TableDefinition};

use crate::{Store, error::Outcome};

/// Peer to the time at which it was last useful, in seconds since 1970.
const GOOD_PEERS: TableDefinition<'_, &str, u64> = TableDefinition::new("good peers");

// === impl Store: good peers ===

impl Store {
    /// Stores the peers that were useful, each with the time at which it last was, in seconds since 1970. Replaces all
    /// that were stored before.
    ///
    /// # Errors
    /// [`StoreError::Write`](crate::StoreError::Write).
    pub fn store_good_peers(&self, peers: &BTreeMap<PeerId, u64>) -> Outcome<()> {
        self.change(|transaction| {
            let mut table = transaction.open_table(GOOD_PEERS)?;
            table.retain(|_, _| false)?;
            for (peer, last) in peers {
                table.insert(peer.to_string().as_str(), last)?;
            }
            Ok(())
        })
    }

    /// The peers of the last [`store_good_peers`](Self::store_good_peers).
    ///
    /// # Errors
    /// [`StoreError::Read`](crate::StoreError::Read).
    pub fn good_peers(&self) -> Outcome<BTreeMap<PeerId, u64>> {
        let peers = self.read_if_there(GOOD_PEERS, |table| {
            let mut found = BTreeMap::new();
            for entry in table.iter()? {
                let (peer, last) = entry?;
                // This version cannot connect to a peer that it cannot read.
                if let Ok(peer) = peer.value().parse() {
                    found.insert(peer, last.value());
                }
            }
            Ok(found)
        })?;
        Ok(peers.unwrap_or_default())
    }
}
