//! `--security-opt`.

/// One security option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    /// `seccomp=unconfined` (true) or `seccomp=builtin`.
    SeccompUnconfined(bool),
    /// `no-new-privileges[:true|false]`.
    NoNewPrivileges(bool),
}

/// Parses a `--security-opt` argument.
pub(crate) fn option(text: &str) -> Result<SecurityOption, String> {
    match text {
        "seccomp=unconfined" | "seccomp:unconfined" => Ok(SecurityOption::SeccompUnconfined(true)),
        "seccomp=builtin" => Ok(SecurityOption::SeccompUnconfined(false)),
        "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true" => {
            Ok(SecurityOption::NoNewPrivileges(true))
        }
        "no-new-privileges:false" | "no-new-privileges=false" => {
            Ok(SecurityOption::NoNewPrivileges(false))
        }
        other => Err(format!(
            "unsupported security option {other:?}: seccomp=unconfined and no-new-privileges are known"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown() {
        assert_eq!(
            option("seccomp=unconfined"),
            Ok(SecurityOption::SeccompUnconfined(true))
        );
        assert_eq!(
            option("seccomp=builtin"),
            Ok(SecurityOption::SeccompUnconfined(false))
        );
        assert_eq!(
            option("no-new-privileges"),
            Ok(SecurityOption::NoNewPrivileges(true))
        );
        assert_eq!(
            option("no-new-privileges:false"),
            Ok(SecurityOption::NoNewPrivileges(false))
        );
        for text in ["", "seccomp=/x.json", "apparmor=x", "label=disable"] {
            assert!(option(text).is_err(), "{text}");
        }
    }
}
