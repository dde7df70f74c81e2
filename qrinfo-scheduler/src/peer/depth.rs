//! How many requests a peer may hold at most.

/// The greatest depth. The model asks for less nearly always; deeper pipelines only mean more to fetch again when a
/// peer stalls, and at 300 KB a reply six already pass the 1 MB at which a server stops reading.
pub const MAX_DEPTH: usize = 8;

/// A ceiling that halves when the peer times out or drops us, and grows by one for as many good replies as it is deep.
///
/// This is the safety cap only. How deep a healthy pipeline is follows from the forecast. A refusal does not move it:
/// it says that the peer lacks a block, not that it has too much to do.
#[derive(Debug, Clone)]
pub(crate) struct Depth {
    limit: f64,
}

// === impl Depth ===

impl Depth {
    pub(crate) fn new() -> Self {
        Self { limit: MAX_DEPTH as f64 }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit as usize
    }

    pub(crate) fn increase(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(MAX_DEPTH as f64);
    }

    pub(crate) fn decrease(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_to_one_and_comes_back_slowly() {
        let mut depth = Depth::new();
        for expected in [4, 2, 1, 1] {
            depth.decrease();
            assert_eq!(depth.limit(), expected);
        }
        for _ in 0..3 {
            depth.increase();
        }
        assert_eq!(depth.limit(), 2);
        for _ in 0..100 {
            depth.increase();
        }
        assert_eq!(depth.limit(), MAX_DEPTH);
    }
}
