//! What every program here can be asked.

/// The options that all measurements share; flatten it into a program's own arguments, or parse it alone.
#[derive(Debug, Clone, clap::Parser)]
pub struct Options {
    /// How many times each case is measured.
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub iterations: u32,
    /// How many times each case is run before that, unmeasured.
    #[arg(long, default_value_t = 3)]
    pub warmup: u32,
    /// Run each case once, to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Keep every single sample in the JSON document.
    #[arg(long)]
    pub samples: bool,
    /// Measure only cases whose name, with its parameters, contains this text.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}

impl Options {
    /// Measured runs of each case.
    pub fn iterations(&self) -> u32 {
        if self.quick { 1 } else { self.iterations }
    }

    /// Unmeasured runs of each case.
    pub fn warmup(&self) -> u32 {
        if self.quick { 0 } else { self.warmup }
    }
}
