//! `pull`, also on behalf of `run`.

use std::io;
use std::sync::Arc;
use std::thread;

use orlop_engine::{Engine, PullOptions, Pulled};

use crate::args::Pull;
use crate::credentials::UserCredentials;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::signals::Signals;

pub(crate) fn pull(engine: &Engine, args: &Pull) -> Result<(), Failure> {
    let pulled = download(engine, &args.name, args.platform.as_deref(), args.quiet)?;
    if args.quiet {
        return output::text(&format!("{}\n", pulled.name));
    }
    let status = if pulled.changed {
        "Downloaded newer image"
    } else {
        "Image is up to date"
    };
    output::text(&format!(
        "Digest: {}\nStatus: {status} for {}\n",
        pulled.digest, pulled.name
    ))
}

/// Pulls an image. A signal that asks to end stops it and leaves nothing of it.
pub(crate) fn download(
    engine: &Engine,
    name: &str,
    platform: Option<&str>,
    quiet: bool,
) -> Result<Pulled, Failure> {
    let progress = Arc::new(Progress::new(quiet));
    let mut options = PullOptions::default();
    options.platform = platform.map(str::to_owned);
    options.credentials = Some(Arc::new(UserCredentials::from_environment()));
    let shown = Arc::clone(&progress);
    options.progress = Arc::new(move |event| shown.show(&event));
    // Before the first thread, so that all of them hold the signals back.
    let signals = Signals::hold_ending()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (stop, running) = io::pipe()?;
    let (tell, told) = tokio::sync::oneshot::channel();
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            if let Ok(Some(signal)) = signals.wait(&stop) {
                // Nobody listens once the pull has ended.
                let _ = tell.send(signal);
            }
        });
        let ended = runtime.block_on(async {
            tokio::select! {
                pulled = engine.pull(name, &options) => Ok(pulled),
                Ok(signal) = told => Err(signal),
            }
        });
        drop(running);
        ended
    });
    // Waits for layers in the middle of being written: they notice that nobody wants them.
    drop(runtime);
    progress.finish();
    match ended {
        Ok(pulled) => Ok(pulled?),
        Err(signal) => {
            engine.tidy()?;
            Err(Failure::silent(
                u8::try_from(128 + signal).unwrap_or(u8::MAX),
            ))
        }
    }
}
