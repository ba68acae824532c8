//! Between the scales of v1 and v2.

/// v1's `cpu.shares` (2 to 262,144) as v2's `cpu.weight` (1 to 10,000).
///
/// The conversion of runc 1.3.2 and crun 1.23: a curve through the two minima, the two maxima and the two
/// defaults (1024 is 100), unlike the linear one before, under which a default container got 39.
///
/// ```
/// use orlop_cgroups::shares_to_weight;
/// assert_eq!([2, 1024, 262_144].map(shares_to_weight), [1, 100, 10_000]);
/// ```
pub fn shares_to_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

/// The inverse of [`shares_to_weight`], to within rounding.
pub fn weight_to_shares(weight: u64) -> u64 {
    if weight <= 1 {
        return 2;
    }
    if weight >= 10_000 {
        return 262_144;
    }
    let exponent = (weight as f64).log10() + 7.0 / 34.0;
    let log = (-125.0 + (15_625.0 + 2_448.0 * exponent).sqrt()) / 2.0;
    (log.exp2().round() as u64).clamp(2, 262_144)
}

/// OCI's block I/O weight (10 to 1000) as v2's `io.weight` (1 to 10,000), linear as in runc and crun.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_points() {
        // The ends and the default, and between them the curve's formula worked out elsewhere.
        for (shares, weight) in [
            (0, 1),
            (1, 1),
            (2, 1),
            (10, 4),
            (3, 2),
            (51, 11),
            (100, 17),
            (128, 21),
            (512, 59),
            (1000, 99),
            (1024, 100),
            (2048, 174),
            (100_000, 4_340),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(shares_to_weight(shares), weight, "{shares}");
        }
        assert_eq!([10, 100, 500, 1000].map(io_weight), [1, 910, 4950, 10_000]);
    }

    #[test]
    fn there_and_back() {
        for weight in 1..=10_000 {
            let again = shares_to_weight(weight_to_shares(weight));
            let off = again.abs_diff(weight);
            assert!(off as f64 <= 1.0 + weight as f64 * 0.2, "{weight} {again}");
        }
        assert_eq!(weight_to_shares(100), 1024);
    }

    proptest! {
        #[test]
        fn monotonic_and_in_range(a in any::<u64>(), b in 0u64..300_000) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(shares_to_weight(low) <= shares_to_weight(high));
            prop_assert!((1..=10_000).contains(&shares_to_weight(a)));
            prop_assert!(weight_to_shares(low) <= weight_to_shares(high));
            prop_assert!((2..=262_144).contains(&weight_to_shares(a)));
        }
    }
}
