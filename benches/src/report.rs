//! What a suite found, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::{Environment, Parameter, Statistics};

/// All figures of one program.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The program's name.
    pub bench: String,
    /// The machine.
    pub environment: Environment,
    /// One entry a case, in the order in which they were added.
    pub cases: Vec<CaseReport>,
}

/// The figures of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// What was done.
    pub name: String,
    /// With which parameters.
    pub parameters: BTreeMap<String, Parameter>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a case.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It ran.
    Measured {
        /// How many samples there are.
        iterations: usize,
        /// Time on the wall, in nanoseconds.
        wall_ns: Statistics,
        /// CPU time of the process and its children, in nanoseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        cpu_ns: Option<Statistics>,
        /// Every sample of the wall time, in the order taken, if asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        samples_ns: Option<Vec<u64>>,
    },
    /// It cannot run on this machine.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It broke.
    Failed {
        /// The error, with its causes.
        error: String,
    },
}

impl Report {
    /// The whole as one JSON document, ended by a newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.bench, self.environment)?;
        let base = self.cases.iter().find_map(|case| match &case.outcome {
            Outcome::Measured { wall_ns, .. } => Some(wall_ns.median),
            _ => None,
        });
        let heads = [
            "case",
            "runs",
            "min",
            "median",
            "p99",
            "max",
            "cpu min",
            "cpu median",
            "ratio",
        ];
        let mut rows = vec![heads.map(str::to_owned)];
        for case in &self.cases {
            let Outcome::Measured {
                iterations,
                wall_ns,
                cpu_ns,
                ..
            } = &case.outcome
            else {
                continue;
            };
            rows.push([
                case.label(),
                iterations.to_string(),
                time(wall_ns.min),
                time(wall_ns.median),
                time(wall_ns.p99),
                time(wall_ns.max),
                cpu_ns.map_or_else(String::new, |cpu| time(cpu.min)),
                cpu_ns.map_or_else(String::new, |cpu| time(cpu.median)),
                base.map_or_else(String::new, |base| {
                    format!("{:.2}", wall_ns.median as f64 / base.max(1) as f64)
                }),
            ]);
        }
        write_rows(f, &rows)?;
        for case in &self.cases {
            match &case.outcome {
                Outcome::Measured { .. } => {}
                Outcome::Skipped { reason } => writeln!(f, "skipped: {}: {reason}", case.label())?,
                Outcome::Failed { error } => writeln!(f, "failed: {}: {error}", case.label())?,
            }
        }
        Ok(())
    }
}

impl CaseReport {
    /// Name and parameters, as the table shows them.
    pub fn label(&self) -> String {
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        label(&self.name, &parameters)
    }
}

/// `name key=value …`.
pub(crate) fn label(name: &str, parameters: &[(String, Parameter)]) -> String {
    parameters
        .iter()
        .fold(name.to_owned(), |label, (key, value)| {
            match value.as_str() {
                Some(text) => format!("{label} {key}={text}"),
                None => format!("{label} {key}={value}"),
            }
        })
}

fn write_rows<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // The name to the left, numbers to the right.
            line.push_str(&if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            });
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A duration with three significant digits.
fn time(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let table = [
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (12_345, "12.3 µs"),
            (123_456, "123 µs"),
            (2_100_000, "2.10 ms"),
        ];
        for (nanoseconds, text) in table {
            assert_eq!(time(nanoseconds), text);
        }
        assert_eq!(time(61_000_000_000), "61.0 s");
    }

    #[test]
    fn the_json_names_outcome_and_parameters() {
        let statistics = Statistics::of(vec![1, 2, 3]).expect("samples");
        let case = |name: &str, outcome| CaseReport {
            name: name.to_owned(),
            parameters: BTreeMap::from([("depth".to_owned(), Parameter::from(3))]),
            outcome,
        };
        let report = Report {
            bench: "test".to_owned(),
            environment: Environment::here(),
            cases: vec![
                case(
                    "a",
                    Outcome::Measured {
                        iterations: 3,
                        wall_ns: statistics,
                        cpu_ns: None,
                        samples_ns: None,
                    },
                ),
                case(
                    "b",
                    Outcome::Skipped {
                        reason: "no peer".to_owned(),
                    },
                ),
            ],
        };
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(json["cases"][0]["outcome"], "measured");
        assert_eq!(json["cases"][0]["wall_ns"]["median"], 2);
        assert_eq!(json["cases"][0]["parameters"]["depth"], 3);
        assert_eq!(json["cases"][1]["reason"], "no peer");
        let table = report.to_string();
        assert!(
            table.contains("a depth=3") && table.contains("skipped: b depth=3: no peer"),
            "{table}"
        );
    }
}
