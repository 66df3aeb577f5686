//! The table: what was measured, and what may not be exceeded.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Stable name; a bound of this name in `budgets.toml` applies to it.
    pub(crate) name: &'static str,
    /// The figure.
    pub(crate) value: f64,
    /// `ms`, `MiB`, `ratio` or `count`.
    pub(crate) unit: &'static str,
    /// How it was taken, in a few words.
    pub(crate) how: String,
    /// The bound, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
    /// Whether the bound is kept; true without a bound.
    pub(crate) kept: bool,
}

/// One bound.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    at_most: f64,
    #[expect(
        dead_code,
        reason = "for the reader of the file; required so that no bound is without a reason"
    )]
    why: String,
}

/// All figures of one run, with the machine they were taken on.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: BTreeMap<&'static str, String>,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Adds a figure.
    pub(crate) fn add(&mut self, name: &'static str, value: f64, unit: &'static str, how: impl Into<String>) {
        self.rows.push(Row { name, value, unit, how: how.into(), at_most: None, kept: true });
    }

    /// Compares with the bounds. A bound without a figure is an error, since it would never fail, unless only a part was
    /// measured.
    pub(crate) fn judge(&mut self, budgets: &str, is_part: bool) -> anyhow::Result<()> {
        let budgets: BTreeMap<String, Budget> = toml::from_str(budgets).context("read the budgets")?;
        for (name, budget) in &budgets {
            let row = self.rows.iter_mut().find(|row| row.name == name);
            if row.is_none() && is_part {
                continue;
            }
            let row = row.with_context(|| format!("nothing measured is called `{name}`"))?;
            ensure!(row.unit != "ms", "`{name}` is an absolute time, which cannot be a bound");
            row.at_most = Some(budget.at_most);
            row.kept = row.value <= budget.at_most;
        }
        Ok(())
    }

    /// Whether every bound is kept.
    pub(crate) fn kept(&self) -> bool {
        self.rows.iter().all(|row| row.kept)
    }

    /// The table as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            // Writing to a String cannot fail.
            let _written = writeln!(text, "- {name}: {value}");
        }
        text.push_str("\n| figure | value | bound | how |\n| --- | ---: | ---: | --- |\n");
        for row in &self.rows {
            let bound = row.at_most.map_or(String::new(), |bound| format!("≤ {bound}"));
            let mark = if row.kept { "" } else { " **exceeded**" };
            let _written = writeln!(
                text,
                "| `{}` | {:.2} {} | {bound}{mark} | {} |",
                row.name, row.value, row.unit, row.how
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: f64, unit: &'static str) -> Report {
        let mut report = Report { machine: BTreeMap::new(), rows: Vec::new() };
        report.add("thing", value, unit, "measured");
        report
    }

    #[test]
    fn a_bound_is_kept_or_exceeded() {
        let budgets = "[thing]\nat_most = 2.0\nwhy = \"so\"";
        let mut good = report(2.0, "ratio");
        good.judge(budgets, false).unwrap();
        assert!(good.kept());
        let mut bad = report(2.1, "ratio");
        bad.judge(budgets, false).unwrap();
        assert!(!bad.kept() && bad.to_markdown().contains("exceeded"));
        let mut nothing = report(f64::NAN, "ratio");
        nothing.judge(budgets, false).unwrap();
        assert!(!nothing.kept(), "a figure that could not be taken does not pass");
    }

    #[test]
    fn times_and_unknown_names_cannot_be_bounds() {
        assert!(report(1.0, "ms").judge("[thing]\nat_most = 2.0\nwhy = \"so\"", false).is_err());
        let other = "[other]\nat_most = 2.0\nwhy = \"so\"";
        assert!(report(1.0, "ratio").judge(other, false).is_err());
        assert!(report(1.0, "ratio").judge(other, true).is_ok(), "a part need not have all figures");
    }
}
