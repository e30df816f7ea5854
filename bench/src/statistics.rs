//! The arithmetic of the tables.

/// The median; of an even number of values the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let (below, above) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => f64::midpoint(*below, *above),
        _ => f64::NAN,
    }
}

/// The least value that at least `permille` thousandths of all values do not exceed.
pub fn percentile(values: &[f64], permille: usize) -> f64 {
    let rank = (values.len() * permille).div_ceil(1000).max(1);
    sorted(values).get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// The least and the greatest value.
pub fn range(values: &[f64]) -> (f64, f64) {
    let sorted = sorted(values);
    (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN))
}

/// Each round's figure as a multiple of the other's in the same round: what disturbs a whole round cancels out.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 500), 500.0);
        assert_eq!(percentile(&values, 990), 990.0);
        assert_eq!(percentile(&values, 999), 999.0);
        assert_eq!(percentile(&values, 1000), 1000.0);
        assert_eq!(percentile(&[7.0], 999), 7.0);
        assert!(percentile(&[], 500).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round ran on a machine twice as slow, for both.
        let ratios = ratios(&[1.5, 3.0], &[1.0, 2.0]);
        assert_eq!(ratios, [1.5, 1.5]);
        assert_eq!(range(&[2.0, 1.0, 3.0]), (1.0, 3.0));
    }
}
