use std::{error::Error, iter::successors};

/// An error and its causes on one line.
pub fn on_one_line(error: &dyn Error) -> String {
    let causes = successors(error.source(), |cause: &&dyn Error| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn every_cause_is_told_in_order() {
        let inner = Told("the disk is full", None);
        let error = Told("cannot keep headers", Some(Told("cannot write", Some(inner.into())).into()));
        assert_eq!(on_one_line(&error), "cannot keep headers: cannot write: the disk is full");
    }
}
