//! `pull`, also on behalf of `run`.

use std::fs;
use std::io;
use std::path::PathBuf;
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
    options.certificates = certificates()?;
    options.proxy = proxy(|name| std::env::var(name).ok());
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

/// Certificates to trust beside the public ones: the file that OpenSSL and Go read, too.
fn certificates() -> Result<Vec<Vec<u8>>, Failure> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(Vec::new());
    };
    let path = PathBuf::from(path);
    let read = fs::read(&path).map_err(|error| {
        Failure::from(error).context(format!("reading SSL_CERT_FILE {}", path.display()))
    });
    Ok(vec![read?])
}

/// The proxy of the environment, by either spelling. Registries on loopback are always reached directly.
fn proxy(lookup: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let first = |names: [&str; 4]| {
        let mut values = names.into_iter().filter_map(&lookup);
        values.find(|value| !value.is_empty())
    };
    let url = first(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])?;
    let mut except = "localhost,127.0.0.0/8,::1".to_owned();
    if let Some(own) = first(["NO_PROXY", "no_proxy", "", ""]) {
        except = format!("{except},{own}");
    }
    Some((url, except))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_of_the_environment() {
        let with = |set: &[(&str, &str)]| {
            proxy(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let loopback = "localhost,127.0.0.0/8,::1";
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("HTTPS_PROXY", "")]), None);
        assert_eq!(
            with(&[("https_proxy", "http://p:1"), ("no_proxy", "a.example")]),
            Some(("http://p:1".into(), format!("{loopback},a.example")))
        );
        assert_eq!(
            with(&[("ALL_PROXY", "http://q:1")]),
            Some(("http://q:1".into(), loopback.into()))
        );
    }
}
