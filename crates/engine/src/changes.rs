//! `--change`: the Dockerfile lines that configure an image without building it.

use std::collections::HashMap;

use oci_spec::image::Config;

use crate::error::Error;

/// Applies one line, `CMD ["sh"]` or `ENV A=1 B=2`, to `config`.
///
/// # Errors
/// [`Error::Invalid`] for an instruction that does not configure, or one without a sense.
pub fn change(config: &mut Config, line: &str) -> Result<(), Error> {
    let bad = |reason: &str| Error::invalid("change", line, reason);
    let (word, rest) = line
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or((line.trim(), ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(bad("it has no argument"));
    }
    match word.to_ascii_uppercase().as_str() {
        "CMD" => {
            config.set_cmd(Some(command(rest)));
        }
        "ENTRYPOINT" => {
            config.set_entrypoint(Some(command(rest)));
        }
        "USER" => {
            config.set_user(Some(rest.to_owned()));
        }
        "STOPSIGNAL" => {
            config.set_stop_signal(Some(rest.to_owned()));
        }
        "WORKDIR" => {
            let before = config.working_dir().as_deref().unwrap_or("/");
            let joined = if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("{before}/{rest}")
            };
            config.set_working_dir(Some(crate::check::clean(&joined)));
        }
        "ENV" => {
            let mut env = config.env().clone().unwrap_or_default();
            for (key, value) in pairs(rest).ok_or_else(|| bad("it is no list of KEY=VALUE"))? {
                env.retain(|old| old.split_once('=').is_none_or(|(name, _)| name != key));
                env.push(format!("{key}={value}"));
            }
            config.set_env(Some(env));
        }
        "LABEL" => {
            let mut labels: HashMap<String, String> = config.labels().clone().unwrap_or_default();
            labels.extend(pairs(rest).ok_or_else(|| bad("it is no list of KEY=VALUE"))?);
            config.set_labels(Some(labels));
        }
        "VOLUME" => {
            let mut volumes = config.volumes().clone().unwrap_or_default();
            volumes.extend(
                list(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect()),
            );
            config.set_volumes(Some(volumes));
        }
        "EXPOSE" => {
            let mut ports = config.exposed_ports().clone().unwrap_or_default();
            for port in rest.split_whitespace() {
                let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                let sound = number.parse::<u16>().is_ok_and(|n| n > 0)
                    && matches!(protocol, "tcp" | "udp" | "sctp");
                if !sound {
                    return Err(bad("a port is a number, then /tcp, /udp or /sctp"));
                }
                ports.push(format!("{number}/{protocol}"));
            }
            config.set_exposed_ports(Some(ports));
        }
        _ => {
            return Err(bad(
                "only CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR configure an image",
            ));
        }
    }
    Ok(())
}

/// The exec form is a JSON list; anything else is a line for the shell.
fn command(text: &str) -> Vec<String> {
    list(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// `A=1 B="two words" C=three\ words`, or the old form `A the rest`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let first = text.split_whitespace().next()?;
    if !first.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let last = words.last_mut()?;
        match (c, quote) {
            ('\\', None | Some('"')) => last.push(chars.next()?),
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => words.push(String::new()),
            (c, _) => last.push(c),
        }
    }
    if quote.is_some() {
        return None;
    }
    let words = words.into_iter().filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (key, value) = word.split_once('=')?;
            (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn applied(lines: &[&str]) -> Config {
        let mut config = Config::default();
        for line in lines {
            change(&mut config, line).unwrap();
        }
        config
    }

    #[test]
    fn every_instruction() {
        let config = applied(&[
            "CMD [\"sh\", \"-c\", \"x\"]",
            "entrypoint echo hi",
            "ENV A=1 B=\"two words\" C=it\\ is",
            "ENV A=2",
            "ENV OLD form of it",
            "LABEL a.b='c d'",
            "USER app:app",
            "STOPSIGNAL SIGINT",
            "WORKDIR /srv",
            "WORKDIR sub",
            "VOLUME /a /b",
            "VOLUME [\"/c d\"]",
            "EXPOSE 80 53/udp",
        ]);
        let strings =
            |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(*config.cmd(), strings(&["sh", "-c", "x"]));
        assert_eq!(*config.entrypoint(), strings(&["/bin/sh", "-c", "echo hi"]));
        assert_eq!(
            *config.env(),
            strings(&["B=two words", "C=it is", "A=2", "OLD=form of it"])
        );
        assert_eq!(config.labels().as_ref().unwrap()["a.b"], "c d");
        assert_eq!(config.user().as_deref(), Some("app:app"));
        assert_eq!(config.stop_signal().as_deref(), Some("SIGINT"));
        assert_eq!(config.working_dir().as_deref(), Some("/srv/sub"));
        assert_eq!(*config.volumes(), strings(&["/a", "/b", "/c d"]));
        assert_eq!(*config.exposed_ports(), strings(&["80/tcp", "53/udp"]));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "CMD",
            "RUN ls",
            "COPY a b",
            "ENV A=\"open",
            "ENV A",
            "EXPOSE http",
            "EXPOSE 1/ip",
            "LABEL =x y=z",
        ] {
            assert!(change(&mut Config::default(), line).is_err(), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(CMD|ENV|LABEL|EXPOSE|VOLUME|WORKDIR) \\PC{0,40}") {
            let _ = change(&mut Config::default(), &line);
        }
    }
}
