use bytes::Bytes;
use redb::{ReadableTable, TableDefinition};

use crate::{Store, error::Outcome};

/// The height of a block to the step to its lists.
const LISTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("lists");

// === impl Store: lists ===

impl Store {
    /// Stores the steps that lead to a client's newest lists, by the heights of their blocks, and removes those for
    /// which `keep` is `false`, in one transaction.
    ///
    /// The store does not look into a step. One that is read back is to be verified like a reply from a peer.
    ///
    /// # Errors
    /// [`StoreError::Write`](crate::StoreError::Write). Nothing is changed then.
    pub fn store_lists(&self, steps: &[(u32, Bytes)], keep: impl Fn(u32) -> bool) -> Outcome<()> {
        self.change(|transaction| {
            let mut table = transaction.open_table(LISTS)?;
            table.retain(|height, _| keep(height))?;
            for (height, step) in steps {
                table.insert(height, step.as_ref())?;
            }
            Ok(())
        })
    }

    /// The stored steps, lowest first.
    ///
    /// # Errors
    /// [`StoreError::Read`](crate::StoreError::Read).
    pub fn lists(&self) -> Outcome<Vec<(u32, Bytes)>> {
        let steps = self.read_if_there(LISTS, |table| {
            let entry = |entry: Result<(redb::AccessGuard<'_, u32>, redb::AccessGuard<'_, &[u8]>), _>| {
                entry.map(|(height, step)| (height.value(), Bytes::copy_from_slice(step.value())))
            };
            table.iter()?.map(entry).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(steps.unwrap_or_default())
    }
}
