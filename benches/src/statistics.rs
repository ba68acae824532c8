//! From samples to the few numbers that are compared.

use serde::Serialize;

/// Minimum, middle and tail of a set of samples, in the unit of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// The least.
    pub min: u64,
    /// The lower quartile.
    pub p25: u64,
    /// The middle; the lower of the two middle ones if their number is even.
    pub median: u64,
    /// The upper quartile.
    pub p75: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
    /// The arithmetic mean, rounded down.
    pub mean: u64,
}

impl Statistics {
    /// Of these samples, by nearest rank; `None` if there are none.
    pub fn of(mut samples: Vec<u64>) -> Option<Statistics> {
        samples.sort_unstable();
        let rank = |percent: usize| {
            let index = (samples.len() * percent).div_ceil(100).saturating_sub(1);
            samples.get(index).copied()
        };
        let total: u128 = samples.iter().map(|&sample| u128::from(sample)).sum();
        Some(Statistics {
            min: *samples.first()?,
            p25: rank(25)?,
            median: rank(50)?,
            p75: rank(75)?,
            p99: rank(99)?,
            max: *samples.last()?,
            mean: u64::try_from(total / samples.len() as u128).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_ranks() {
        assert_eq!(Statistics::of(Vec::new()), None);
        let one = Statistics::of(vec![7]).expect("one sample");
        assert_eq!(
            (one.min, one.median, one.p99, one.max, one.mean),
            (7, 7, 7, 7, 7)
        );
        let hundred = Statistics::of((1..=100).rev().collect()).expect("samples");
        assert_eq!(
            (hundred.min, hundred.p25, hundred.median, hundred.p75),
            (1, 25, 50, 75)
        );
        assert_eq!((hundred.p99, hundred.max, hundred.mean), (99, 100, 50));
    }
}
