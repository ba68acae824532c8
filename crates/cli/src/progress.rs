//! How a pull looks: bars on a terminal, lines elsewhere, nothing when quiet.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use orlop_engine::{Digest, PullEvent, Warnings};

use crate::output::human;

/// Shows the events of one pull on standard error.
pub(crate) struct Progress {
    look: Look,
}

enum Look {
    Quiet,
    Lines,
    Bars {
        all: MultiProgress,
        layers: Mutex<HashMap<Digest, ProgressBar>>,
    },
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Progress {
        let look = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Look::Quiet,
            (false, false) => Look::Lines,
            (false, true) => Look::Bars {
                all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
                layers: Mutex::default(),
            },
        };
        Progress { look }
    }

    /// Shows one event.
    pub(crate) fn show(&self, event: &PullEvent) {
        match &self.look {
            Look::Quiet => {}
            Look::Lines => lines(event),
            Look::Bars { all, layers } => {
                let mut layers = layers
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                bars(all, &mut layers, event);
            }
        }
    }

    /// Leaves the terminal with whole lines, whatever became of the pull.
    pub(crate) fn finish(&self) {
        if let Look::Bars { layers, .. } = &self.look {
            let mut layers = layers
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            for (_, bar) in layers.drain() {
                if !bar.is_finished() {
                    bar.abandon();
                }
            }
        }
    }
}

/// Writes a line to standard error.
pub(crate) fn say(line: &str) {
    // Progress that nobody reads is not worth failing for.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn lines(event: &PullEvent) {
    let short = |digest: &Digest| human::short_id(digest.as_ref()).to_owned();
    match event {
        PullEvent::Resolved { descriptor, layers } => {
            say(&format!(
                "Digest: {}, {} layers",
                descriptor.digest(),
                layers.len()
            ));
        }
        PullEvent::Present { digest } => say(&format!("{}: already exists", short(digest))),
        PullEvent::Waiting { digest } => {
            say(&format!("{}: waiting for another download", short(digest)))
        }
        PullEvent::Downloaded { digest } => say(&format!("{}: downloaded", short(digest))),
        PullEvent::Unpacked {
            digest, warnings, ..
        } => {
            say(&format!("{}: unpacked", short(digest)));
            warn(warnings, &say);
        }
        PullEvent::Retrying { reason, delay } => say(&retrying(reason, *delay)),
        _ => {}
    }
}

fn retrying(reason: &str, delay: Duration) -> String {
    format!("trying again in {:.1} s: {reason}", delay.as_secs_f32())
}

/// Without root, device nodes and foreign owners cannot be kept; owners are so common that only the others are told.
fn warn(warnings: &Warnings, say: &dyn Fn(&str)) {
    if warnings.devices > 0 || warnings.attributes > 0 {
        say(&format!(
            "warning: left out {} device nodes and {} attributes, which need root: {}",
            warnings.devices,
            warnings.attributes,
            warnings.examples.join(", ")
        ));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn bars(all: &MultiProgress, layers: &mut HashMap<Digest, ProgressBar>, event: &PullEvent) {
    let message = |digest: &Digest, text: &'static str| {
        if let Some(bar) = layers.get(digest) {
            bar.set_message(text);
        }
    };
    let say = |line: &str| {
        let _ = all.println(line);
    };
    match event {
        PullEvent::Resolved { layers: wanted, .. } => {
            for layer in wanted {
                let bar = all.add(ProgressBar::new(layer.size()));
                bar.set_style(style(
                    "{prefix}  [{bar:30}] {decimal_bytes:>9}/{decimal_total_bytes:<9}  {msg}",
                ));
                bar.set_prefix(human::short_id(layer.digest().as_ref()).to_owned());
                layers.insert(layer.digest().clone(), bar);
            }
        }
        PullEvent::Downloading { digest, bytes, .. } => {
            if let Some(bar) = layers.get(digest) {
                bar.set_position(*bytes);
            }
        }
        PullEvent::Present { digest } => {
            if let Some(bar) = layers.get(digest) {
                bar.set_position(bar.length().unwrap_or(0));
                bar.set_message("already exists");
            }
        }
        PullEvent::Waiting { digest } => message(digest, "waiting for another download"),
        PullEvent::Downloaded { digest } => message(digest, "unpacking"),
        PullEvent::Unpacked {
            digest, warnings, ..
        } => {
            message(digest, "unpacked");
            warn(warnings, &say);
        }
        PullEvent::Finished { digest } => {
            if let Some(bar) = layers.remove(digest) {
                bar.finish_with_message("done");
            }
        }
        PullEvent::Retrying { reason, delay } => say(&retrying(reason, *delay)),
        _ => {}
    }
}
