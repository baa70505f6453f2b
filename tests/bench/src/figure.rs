//! Figures, and their output as files and a table.

use std::{fs, path::Path};

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::Serialize;

use crate::{chart, print, progress};

/// A measurement beside its limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    #[serde(rename = "figure")]
    pub(crate) name: String,
    pub(crate) ours: f64,
    /// Value reached by the servers or by a bare program; a target where no such value exists.
    pub(crate) limit: f64,
    /// Ratio of `ours` to `limit`: the median of the pairs' ratios if there are pairs.
    pub(crate) ratio: f64,
    pub(crate) unit: String,
    /// Smallest and largest ratio of a pair.
    pub(crate) spread: [f64; 2],
}

impl Figure {
    /// Makes a figure from a single measurement.
    pub(crate) fn single(name: &str, ours: f64, limit: f64, unit: &str) -> Self {
        let ratio = ours / limit;
        Self {
            name: name.to_owned(),
            ours,
            limit,
            ratio,
            unit: unit.to_owned(),
            spread: [ratio, ratio],
        }
    }
}

/// All measured figures.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<Figure>);

impl Results {
    pub(crate) fn extend(&mut self, figures: Vec<Figure>) {
        for figure in &figures {
            progress(&format!(
                "   {}: {} beside {} {}, ratio {:.2}",
                figure.name,
                number(figure.ours),
                number(figure.limit),
                figure.unit,
                figure.ratio
            ));
        }
        self.0.extend(figures);
    }

    /// Writes the result files and prints the table.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let json = serde_json::to_string_pretty(&self.0)?;
        fs::write(folder.join("results.json"), json).context("writing results.json")?;
        fs::write(folder.join("results.svg"), chart::svg(&self.0))
            .context("writing results.svg")?;
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY);
        table.set_header(["figure", "ours", "limit", "unit", "ratio", "spread"]);
        for figure in &self.0 {
            let [least, greatest] = figure.spread;
            table.add_row([
                figure.name.clone(),
                number(figure.ours),
                number(figure.limit),
                figure.unit.clone(),
                format!("{:.2}", figure.ratio),
                format!("{least:.2} to {greatest:.2}"),
            ]);
        }
        for column in [1, 2, 4, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        print(&format!("\n{table}"));
        progress(&format!("{}", folder.display()));
        Ok(())
    }
}

/// Formats a number with at least three significant digits.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}
