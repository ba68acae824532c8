//! `load`, `save` and `import`.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use orlop_engine::{Engine, ImportOptions};

use crate::args::{Import, Load, Save};
use crate::failure::Failure;
use crate::output;

pub(crate) fn load(engine: &Engine, args: &Load) -> Result<(), Failure> {
    let loaded = match &args.input {
        Some(path) => engine.load_path(path)?,
        None if io::stdin().is_terminal() => {
            return Err(Failure::new("an archive does not come from a terminal")
                .hint("write `orlop load -i FILE`, or put the archive on standard input"));
        }
        None => engine.load(io::stdin().lock())?,
    };
    if args.quiet {
        return Ok(());
    }
    let mut text = String::new();
    for image in loaded {
        if image.names.is_empty() {
            text.push_str(&format!("Loaded image ID: {}\n", image.id));
        }
        for name in image.names {
            text.push_str(&format!("Loaded image: {name}\n"));
        }
    }
    output::text(&text)
}

pub(crate) fn save(engine: &Engine, args: &Save) -> Result<(), Failure> {
    let Some(path) = &args.output else {
        if io::stdout().is_terminal() {
            return Err(Failure::new("an archive is not for a terminal")
                .hint("write `orlop save -o FILE`, or redirect standard output"));
        }
        let mut out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
        engine.save(&args.images, &mut out)?;
        return Ok(out.flush()?);
    };
    let partial = Partial::create(path)?;
    let mut out = BufWriter::with_capacity(256 << 10, &partial.file);
    engine.save(&args.images, &mut out)?;
    out.flush()
        .map_err(|error| Failure::from(error).context(format!("writing {}", path.display())))?;
    drop(out);
    partial.finish(path)
}

/// A file being written beside its place, so that no half archive is ever taken for a whole one.
struct Partial {
    path: Option<PathBuf>,
    file: File,
}

impl Partial {
    fn create(target: &Path) -> Result<Partial, Failure> {
        let failed = |error: io::Error| {
            Failure::from(error).context(format!("creating {}", target.display()))
        };
        // A device or a pipe is written to as it is.
        if fs::metadata(target).is_ok_and(|metadata| !metadata.is_file()) {
            let file = File::options().write(true).open(target).map_err(failed)?;
            return Ok(Partial { path: None, file });
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial{}", std::process::id()));
        let path = target.with_file_name(name);
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        Ok(Partial {
            path: Some(path),
            file,
        })
    }

    fn finish(mut self, target: &Path) -> Result<(), Failure> {
        if let Some(path) = self.path.take() {
            fs::rename(&path, target).map_err(|error| {
                let _ = fs::remove_file(&path);
                Failure::from(error).context(format!("creating {}", target.display()))
            })?;
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

pub(crate) fn import(engine: &Engine, args: &Import) -> Result<(), Failure> {
    let mut options = ImportOptions::default();
    options.name = args.name.clone();
    options.changes = args.change.clone();
    options.comment = args.message.clone();
    options.platform = args.platform.clone();
    let id = if args.file == Path::new("-") {
        engine.import(io::stdin().lock(), &options)?
    } else {
        let file = File::open(&args.file).map_err(|error| {
            Failure::from(error).context(format!("opening {}", args.file.display()))
        })?;
        engine.import(file, &options)?
    };
    output::text(&format!("{id}\n"))
}
