//! Errors as text.

use std::{error::Error, iter::successors};

/// An error and its causes on one line.
pub(crate) fn on_one_line(error: &dyn Error) -> String {
    let causes = successors(error.source(), |cause: &&dyn Error| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_in_order() {
        let inner = std::io::Error::other("the disk is full");
        let error = anyhow::Error::new(inner).context("cannot write").context("cannot keep headers");
        assert_eq!(on_one_line(error.as_ref()), "cannot keep headers: cannot write: the disk is full");
    }
}
