//! The harness of the measurements: many cases, run in turn rather than one after the other, so that a noisy minute on the
//! machine falls on all of them alike.
//!
//! Every program in `src/bin` measures one primitive and speaks the same options and the same JSON:
//!
//! ```
//! use clap::Parser;
//! use orlop_benches::{Options, Suite};
//!
//! # fn run() -> std::process::ExitCode {
//! let options = Options::parse_from(["spawn", "--quick"]);
//! let mut suite = Suite::new("spawn", &options);
//! for arguments in [0, 100] {
//!     suite.case("true", &[("arguments", arguments.into())], move |meter| {
//!         let mut command = std::process::Command::new("/bin/true");
//!         command.args((0..arguments).map(|number| number.to_string()));
//!         meter.measure(|| command.status())?;
//!         Ok(())
//!     });
//! }
//! suite.finish()
//! # }
//! # assert_eq!(run(), std::process::ExitCode::SUCCESS);
//! ```
//!
//! # Limits
//!
//! CPU time is that of the whole process and of its children that have been waited for; a case that leaves work to a thread
//! or to a process nobody waits for is charged to whoever runs next. The kernel counts the time of children in steps of a
//! microsecond.

#![deny(unsafe_code)]

mod environment;
pub mod floor;
mod meter;
mod options;
mod report;
pub mod rootfs;
mod statistics;
mod suite;
#[allow(unsafe_code)]
mod sys;

pub use environment::Environment;
pub use meter::{Meter, Sample};
pub use options::Options;
pub use report::{CaseReport, Outcome, Report};
pub use statistics::Statistics;
pub use suite::{Parameter, Suite};
