//! `--ulimit NAME=SOFT[:HARD]`.

use orlop_engine::Ulimit;

/// Parses a `--ulimit` argument; -1 or `unlimited` is unlimited, and the hard limit is the soft one when absent.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let bad = || format!("invalid ulimit {text:?}: write NAME=SOFT[:HARD], as in nofile=1024:2048");
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft).ok_or_else(bad)?, number(hard).ok_or_else(bad)?);
    if name.is_empty() {
        return Err(bad());
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

fn number(text: &str) -> Option<u64> {
    match text {
        "-1" | "unlimited" => Some(u64::MAX),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms() {
        let limit = |soft, hard| {
            Some(Ulimit {
                name: "nofile".into(),
                soft,
                hard,
            })
        };
        let cases = [
            ("nofile=10", limit(10, 10)),
            ("nofile=10:20", limit(10, 20)),
            ("nofile=-1", limit(u64::MAX, u64::MAX)),
            ("nofile=10:unlimited", limit(10, u64::MAX)),
            ("nofile", None),
            ("=10", None),
            ("nofile=", None),
            ("nofile=1:2:3", None),
            ("nofile=+1", None),
            ("nofile=-2", None),
            ("nofile=99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(ulimit(text).ok(), expected, "{text:?}");
        }
    }
}
