//! `ps` and `rm`.

use orlop_engine::{Container, Engine, State};
use serde::Serialize;

use super::for_each;
use crate::args::{Format, Ps, Rm};
use crate::failure::Failure;
use crate::output::{self, human, table::table};
use crate::times;

/// A line of `orlop ps`, with Docker's field names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    image: String,
    command: String,
    created_at: String,
    running_for: String,
    state: String,
    status: String,
    names: String,
    labels: String,
    mounts: String,
    networks: String,
}

pub(crate) fn list(engine: &Engine, args: &Ps) -> Result<(), Failure> {
    let containers = engine.containers()?;
    let rows: Vec<Row> = containers
        .iter()
        .filter(|c| args.all || c.state == State::Running)
        .map(|c| row(c, args.no_trunc))
        .collect();
    if args.quiet {
        return output::text(
            &rows
                .iter()
                .map(|row| format!("{}\n", row.id))
                .collect::<String>(),
        );
    }
    if args.format == Format::Json {
        return output::json_lines(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            vec![
                row.id,
                row.image,
                row.command,
                row.running_for,
                row.status,
                row.names,
            ]
        })
        .collect();
    output::text(&table(
        &[
            "CONTAINER ID",
            "IMAGE",
            "COMMAND",
            "CREATED",
            "STATUS",
            "NAMES",
        ],
        &cells,
    ))
}

fn row(c: &Container, whole: bool) -> Row {
    let command = format!("\"{}\"", c.argv.join(" "));
    let labels: Vec<String> = c
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mounts: Vec<&str> = c
        .mounts
        .iter()
        .map(|m| m.name.as_deref().unwrap_or(&m.source))
        .collect();
    Row {
        id: if whole {
            c.id.clone()
        } else {
            human::short_id(&c.id).to_owned()
        },
        image: c.image.clone(),
        command: if whole {
            command
        } else {
            human::ellipsis(&command, 22)
        },
        created_at: times::docker(&c.created),
        running_for: times::ago(&c.created),
        state: c.state.as_str().to_owned(),
        status: status(c),
        names: c.name.clone(),
        labels: labels.join(","),
        mounts: mounts.join(","),
        networks: c.network.as_str().to_owned(),
    }
}

fn status(c: &Container) -> String {
    match c.state {
        State::Created => "Created".to_owned(),
        State::Running => {
            let up = c
                .started
                .as_deref()
                .and_then(times::since)
                .map(human::duration);
            format!("Up {}", up.unwrap_or_default())
        }
        State::Exited => {
            let ago = c.finished.as_deref().map(times::ago).unwrap_or_default();
            format!("Exited ({}) {ago}", c.exit_code.unwrap_or(0))
        }
    }
}

pub(crate) fn remove(engine: &Engine, args: &Rm) -> Result<(), Failure> {
    for_each(&args.containers, |name| {
        engine.remove_container(name, args.force, args.volumes)?;
        output::text(&format!("{name}\n"))
    })
}
