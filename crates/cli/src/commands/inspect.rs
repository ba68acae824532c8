//! `inspect`.

use orlop_engine::{Engine, ErrorKind};
use serde_json::Value;

use crate::args::Inspect;
use crate::failure::Failure;
use crate::output;

pub(crate) fn inspect(engine: &Engine, args: &Inspect) -> Result<(), Failure> {
    let mut found: Vec<Value> = Vec::new();
    let mut missing = Vec::new();
    for name in &args.names {
        match inspect_one(engine, name, args.kind.as_deref()) {
            Ok(value) => found.push(value),
            Err(failure) => missing.push(failure),
        }
    }
    // What was found is shown even when something was not, as Docker shows it.
    match &args.format {
        Some(_) => output::text(&format!("{}\n", output::json(&found)?))?,
        None => output::json_document(&found)?,
    }
    let failed = !missing.is_empty();
    for failure in missing {
        failure.report();
    }
    if failed {
        Err(Failure::silent(1))
    } else {
        Ok(())
    }
}

fn inspect_one(engine: &Engine, name: &str, kind: Option<&str>) -> Result<Value, Failure> {
    match kind {
        Some("image") => return Ok(engine.inspect_image(name)?),
        Some(_) => return Ok(engine.inspect_container(name)?),
        None => {}
    }
    match engine.inspect_container(name) {
        Ok(value) => return Ok(value),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    match engine.inspect_image(name) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            Err(Failure::new(format!("no such image or container: {name}"))
                .hint("`orlop images` and `orlop ps -a` list what there is"))
        }
        other => Ok(other?),
    }
}
