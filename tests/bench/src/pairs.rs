//! Pairs of measurements that alternate between ours and the limit.

use crate::{figure::Figure, progress};

/// Measurements of ours and of the limit, taken alternately.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    pub(crate) fn add(&mut self, ours: f64, limit: f64) {
        progress(&format!("      {ours:.1} beside {limit:.1}"));
        self.0.push((ours, limit));
    }

    /// Returns the figure of the pairs: medians, and the median of the ratios.
    pub(crate) fn figure(&self, name: &str, unit: &str) -> Figure {
        let ratios = || self.0.iter().map(|(ours, limit)| ours / limit);
        Figure {
            name: name.to_owned(),
            ours: median(self.0.iter().map(|(ours, _)| *ours)),
            limit: median(self.0.iter().map(|(_, limit)| *limit)),
            ratio: median(ratios()),
            unit: unit.to_owned(),
            spread: [
                ratios().fold(f64::INFINITY, f64::min),
                ratios().fold(0.0, f64::max),
            ],
        }
    }
}

/// Returns the median: the middle value, or the mean of the two middle values.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// Returns the value below which a `share` of the values lies, interpolated between two values.
pub(crate) fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let index = share * (values.len().max(1) - 1) as f64;
    let value = |index: f64| values.get(index as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (value(index.floor()), value(index.ceil()));
    below + (above - below) * index.fract()
}

#[cfg(test)]
mod tests {
    use super::{Pairs, median, quantile};

    #[test]
    fn medians_and_quantiles() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
        let hundred = || (1..=101).map(f64::from);
        assert!((quantile(hundred(), 0.99) - 100.0).abs() < 1e-9);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn a_figure_of_pairs_has_the_median_of_their_ratios() {
        let mut pairs = Pairs::default();
        for (ours, limit) in [(1.0, 2.0), (3.0, 4.0), (9.0, 9.0)] {
            pairs.add(ours, limit);
        }
        let figure = pairs.figure("f", "u");
        assert!((figure.ratio - 0.75).abs() < 1e-9);
        assert!(figure.spread[0] < 0.51 && figure.spread[1] > 0.99);
    }
}
