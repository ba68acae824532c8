//! The cases of a program, run in turn.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::{CaseReport, Environment, Meter, Options, Outcome, Report, Sample, Statistics};

/// The value of one parameter of a case: a number, a text or a truth.
pub type Parameter = serde_json::Value;

type Work<'a> = Box<dyn FnMut(&mut Meter) -> Result<(), Box<dyn Error>> + 'a>;

struct Case<'a> {
    name: String,
    parameters: Vec<(String, Parameter)>,
    state: State<'a>,
}

enum State<'a> {
    Runs {
        work: Work<'a>,
        samples: Vec<Sample>,
    },
    Skipped(String),
    Failed(String),
}

/// A program's cases. They are measured by [`Suite::finish`] (or [`Suite::run`]): one run of each, then again, so many times.
pub struct Suite<'a> {
    name: String,
    options: Options,
    cases: Vec<Case<'a>>,
}

impl<'a> Suite<'a> {
    /// A suite of no case yet.
    pub fn new(name: &str, options: &Options) -> Suite<'a> {
        Suite {
            name: name.to_owned(),
            options: options.clone(),
            cases: Vec::new(),
        }
    }

    /// Adds a case. The first one is what the others' ratios are taken against.
    pub fn case(
        &mut self,
        name: &str,
        parameters: &[(&str, Parameter)],
        work: impl FnMut(&mut Meter) -> Result<(), Box<dyn Error>> + 'a,
    ) {
        self.add(
            name,
            parameters,
            State::Runs {
                work: Box::new(work),
                samples: Vec::new(),
            },
        );
    }

    /// Notes a case that cannot be measured here, and why.
    pub fn skip(&mut self, name: &str, parameters: &[(&str, Parameter)], reason: &str) {
        self.add(name, parameters, State::Skipped(reason.to_owned()));
    }

    /// Notes what could not even be prepared. The program then fails as a whole.
    pub fn fail(&mut self, name: &str, error: &str) {
        self.add(name, &[], State::Failed(error.to_owned()));
    }

    fn add(&mut self, name: &str, parameters: &[(&str, Parameter)], state: State<'a>) {
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let label = crate::report::label(name, &parameters);
        if self
            .options
            .filter
            .as_ref()
            .is_none_or(|text| label.contains(text.as_str()))
        {
            self.cases.push(Case {
                name: name.to_owned(),
                parameters,
                state,
            });
        }
    }

    /// Runs everything and returns the figures. A case that fails is not run again; its error stands in the report.
    pub fn run(mut self) -> Report {
        let environment = Environment::here();
        let rounds = self.options.warmup() + self.options.iterations();
        for round in 0..rounds {
            let measured = round >= self.options.warmup();
            let count = self.cases.len();
            for step in 0..count {
                // Each round begins with another case, so that none always follows the same neighbour's mess.
                let index = (step + round as usize) % count;
                if let Some(case) = self.cases.get_mut(index) {
                    case.run_once(measured);
                }
            }
        }
        let keep = self.options.samples;
        Report {
            bench: self.name,
            environment,
            cases: self
                .cases
                .into_iter()
                .map(|case| case.report(keep))
                .collect(),
        }
    }

    /// Runs everything, prints the table or the JSON document to standard output, and says whether all went well.
    pub fn finish(self) -> ExitCode {
        let json = self.options.json;
        let report = self.run();
        let text = if json {
            report.to_json()
        } else {
            report.to_string()
        };
        let written = io::stdout().lock().write_all(text.as_bytes());
        let failed = report
            .cases
            .iter()
            .any(|case| matches!(case.outcome, Outcome::Failed { .. }));
        if failed || written.is_err() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

impl Case<'_> {
    fn run_once(&mut self, measured: bool) {
        let State::Runs { work, samples } = &mut self.state else {
            return;
        };
        let mut meter = Meter::default();
        match work(&mut meter) {
            Ok(()) if measured => match meter.sample() {
                Some(sample) => samples.push(sample),
                None => self.state = State::Failed("the case measured nothing".to_owned()),
            },
            Ok(()) => {}
            Err(error) => self.state = State::Failed(chain(error.as_ref())),
        }
    }

    fn report(self, keep_samples: bool) -> CaseReport {
        let outcome = match self.state {
            State::Skipped(reason) => Outcome::Skipped { reason },
            State::Failed(error) => Outcome::Failed { error },
            State::Runs { samples, .. } => {
                let wall: Vec<u64> = samples.iter().map(|sample| sample.wall_ns).collect();
                let cpu: Vec<u64> = samples.iter().filter_map(|sample| sample.cpu_ns).collect();
                match Statistics::of(wall.clone()) {
                    Some(wall_ns) => Outcome::Measured {
                        iterations: samples.len(),
                        wall_ns,
                        cpu_ns: Statistics::of(cpu),
                        samples_ns: keep_samples.then_some(wall),
                    },
                    None => Outcome::Failed {
                        error: "no run was measured".to_owned(),
                    },
                }
            }
        };
        CaseReport {
            name: self.name,
            parameters: self.parameters.into_iter().collect(),
            outcome,
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use clap::Parser;

    use super::*;

    #[test]
    fn cases_take_turns_and_a_failure_ends_only_its_own() {
        let options = Options::parse_from(["test", "--iterations", "3", "--warmup", "1"]);
        let order = RefCell::new(String::new());
        let mut suite = Suite::new("test", &options);
        suite.case("a", &[], |meter| {
            meter.measure(|| order.borrow_mut().push('a'));
            Ok(())
        });
        suite.case("b", &[("depth", 2.into())], |_| {
            order.borrow_mut().push('b');
            Err(Box::new(io::Error::other("broken")))
        });
        suite.skip("c", &[], "not here");
        let report = suite.run();
        assert_eq!(
            order.borrow().chars().filter(|&case| case == 'a').count(),
            4
        );
        assert_eq!(
            order.borrow().chars().filter(|&case| case == 'b').count(),
            1
        );
        let [a, b, c] = report.cases.as_slice() else {
            panic!("three cases")
        };
        assert!(
            matches!(a.outcome, Outcome::Measured { iterations: 3, .. }),
            "{a:?}"
        );
        assert!(
            matches!(&b.outcome, Outcome::Failed { error } if error == "broken"),
            "{b:?}"
        );
        assert!(
            matches!(&c.outcome, Outcome::Skipped { reason } if reason == "not here"),
            "{c:?}"
        );
    }

    #[test]
    fn a_filter_sees_the_parameters() {
        let options = Options::parse_from(["test", "--quick", "--filter", "depth=9"]);
        let mut suite = Suite::new("test", &options);
        for depth in [8, 9] {
            suite.case("mount", &[("depth", depth.into())], |meter| {
                meter.measure(|| ());
                Ok(())
            });
        }
        assert_eq!(suite.run().cases.len(), 1);
    }

    #[test]
    fn a_case_that_measures_nothing_has_failed() {
        let mut suite = Suite::new("test", &Options::parse_from(["test", "--quick"]));
        suite.case("idle", &[], |_| Ok(()));
        assert!(matches!(
            suite.run().cases.as_slice(),
            [CaseReport {
                outcome: Outcome::Failed { .. },
                ..
            }]
        ));
    }
}
