//! `images`, `rmi` and `tag`.

use orlop_engine::{Engine, ImageSummary, Removed};
use serde::Serialize;

use super::for_each;
use crate::args::{Format, Images, Rmi, Tag};
use crate::failure::{Failure, chain};
use crate::output::{self, human, table::table};
use crate::times;

/// A line of `orlop images`, with Docker's field names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    repository: String,
    tag: String,
    #[serde(rename = "ID")]
    id: String,
    digest: String,
    created_at: String,
    created_since: String,
    size: String,
    size_bytes: u64,
    platform: String,
}

pub(crate) fn list(engine: &Engine, args: &Images) -> Result<(), Failure> {
    let (images, damaged) = engine.images()?;
    for error in damaged {
        // The others are worth listing all the same.
        Failure::new(format!("warning: {}", chain(&error))).report();
    }
    let mut rows: Vec<Row> = images.iter().flat_map(rows).collect();
    if let Some(name) = &args.name {
        let (repository, tag) = split(name);
        rows.retain(|row| row.repository == repository && (tag == NONE || row.tag == tag));
    }
    if !args.no_trunc && args.format == Format::Table {
        for row in &mut rows {
            row.id = human::short_id(&row.id).to_owned();
        }
    }
    if args.quiet {
        let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        ids.dedup();
        return output::text(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    if args.format == Format::Json {
        return output::json_lines(&rows);
    }
    let mut heading = vec!["REPOSITORY", "TAG"];
    if args.digests {
        heading.push("DIGEST");
    }
    heading.extend(["IMAGE ID", "CREATED", "SIZE"]);
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            let mut cells = vec![row.repository, row.tag];
            if args.digests {
                cells.push(row.digest);
            }
            cells.extend([row.id, row.created_since, row.size]);
            cells
        })
        .collect();
    output::text(&table(&heading, &cells))
}

const NONE: &str = "<none>";

fn rows(image: &ImageSummary) -> Vec<Row> {
    let row = |repository: &str, tag: &str| Row {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        id: image.id.to_string(),
        digest: image.digest.to_string(),
        created_at: image
            .created
            .as_deref()
            .map(times::docker)
            .unwrap_or_default(),
        created_since: image.created.as_deref().map(times::ago).unwrap_or_default(),
        size: human::size(image.size),
        size_bytes: image.size,
        platform: image.platform.clone(),
    };
    if image.names.is_empty() {
        return vec![row(NONE, NONE)];
    }
    image
        .names
        .iter()
        .map(|name| {
            let (repository, tag) = split(name);
            row(repository, tag)
        })
        .collect()
}

/// Repository and tag of a name; a name by digest has no tag.
fn split(name: &str) -> (&str, &str) {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, NONE),
    }
}

pub(crate) fn remove(engine: &Engine, args: &Rmi) -> Result<(), Failure> {
    for_each(&args.images, |name| {
        for removed in engine.remove_image(name, args.force)? {
            output::text(&match removed {
                Removed::Untagged(name) => format!("Untagged: {name}\n"),
                Removed::Deleted(id) => format!("Deleted: {id}\n"),
            })?;
        }
        Ok(())
    })
}

pub(crate) fn tag(engine: &Engine, args: &Tag) -> Result<(), Failure> {
    engine.tag(&args.source, &args.target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_their_tag() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let cases = [
            ("busybox:latest".to_owned(), ("busybox", "latest")),
            ("busybox".to_owned(), ("busybox", NONE)),
            ("localhost:5000/x".to_owned(), ("localhost:5000/x", NONE)),
            ("localhost:5000/x:1".to_owned(), ("localhost:5000/x", "1")),
            (format!("x@{digest}"), ("x", NONE)),
            (format!("x:1@{digest}"), ("x", "1")),
        ];
        for (name, expected) in &cases {
            assert_eq!(split(name), *expected, "{name}");
        }
    }
}
