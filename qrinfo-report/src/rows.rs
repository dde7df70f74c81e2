//! The rows in which the requests of one peer are drawn, so that no two overlap.

use std::time::Instant;

/// The row of each span, in the order of `spans`, which is that of their starts; and the number of rows.
pub(super) fn rows(spans: impl IntoIterator<Item = (Instant, Instant)>) -> (Vec<usize>, usize) {
    let mut free_from: Vec<Instant> = Vec::new();
    let rows = spans
        .into_iter()
        .map(|(start, end)| {
            let row = free_from.iter().position(|&free| free <= start).unwrap_or(free_from.len());
            match free_from.get_mut(row) {
                Some(free) => *free = end,
                None => free_from.push(end),
            }
            row
        })
        .collect();
    (rows, free_from.len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn overlapping_spans_have_rows_of_their_own() {
        let base = tokio::time::Instant::now().into_std();
        let at = |milliseconds| base + Duration::from_millis(milliseconds);
        let spans = [(0, 10), (5, 8), (8, 12), (10, 11)].map(|(start, end)| (at(start), at(end)));
        assert_eq!(rows(spans), (vec![0, 1, 1, 0], 2));
    }
}
