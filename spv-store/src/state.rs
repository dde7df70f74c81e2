use redb::TableDefinition;

use crate::{Store, error::Outcome};

/// Name to the client's own state.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

// === impl Store: state ===

impl Store {
    /// Stores the client's masternode state. Replaces an older one.
    ///
    /// # Errors
    /// [`StoreError::Write`](crate::StoreError::Write).
    pub fn store_masternode_state(&self, state: &[u8]) -> Outcome<()> {
        self.change(|transaction| {
            transaction.open_table(STATE)?.insert("masternodes", state)?;
            Ok(())
        })
    }

    /// The masternode state that was stored last.
    ///
    /// # Errors
    /// [`StoreError::Read`](crate::StoreError::Read).
    pub fn masternode_state(&self) -> Outcome<Option<Vec<u8>>> {
        let state =
            self.read_if_there(STATE, |states| Ok(states.get("masternodes")?.map(|state| state.value().to_vec())))?;
        Ok(state.flatten())
    }
}
