//! How often and how soon to try again.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How failed requests are tried again: connection errors, 408, 429 and 5xx are, a timeout
/// once, an answer that says no never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How many times after the first (default 4).
    pub times: usize,
    /// The first pause (default 200 ms); each further one doubles, and all are lengthened by a random part.
    pub first_delay: Duration,
    /// No pause of our own is longer (default 10 s).
    pub max_delay: Duration,
    /// The longest pause a registry may ask for by `Retry-After` (default 60 s). If it asks for more,
    /// the operation fails at once and the error says how long.
    pub max_retry_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            times: 4,
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// No retries at all.
    pub fn never() -> Self {
        Self {
            times: 0,
            ..Self::default()
        }
    }

    pub(crate) fn delays(&self) -> Delays {
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.times)
            .build();
        Delays {
            backoff,
            max_retry_after: self.max_retry_after,
            attempt: 0,
            timeouts: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Delays {
    backoff: ExponentialBackoff,
    max_retry_after: Duration,
    attempt: u32,
    timeouts: u32,
}

/// A registry that hangs is given this many further chances.
const RETRIES_AFTER_TIMEOUT: u32 = 1;

impl Delays {
    /// The pause before the next attempt after a timeout, of which fewer are forgiven.
    pub(crate) fn next_after_timeout(&mut self) -> Option<Duration> {
        self.timeouts += 1;
        if self.timeouts > RETRIES_AFTER_TIMEOUT {
            return None;
        }
        self.next(None)
    }

    /// The pause before the next attempt; `None` when it is enough.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        let own = self.backoff.next()?;
        self.attempt += 1;
        match retry_after {
            Some(asked) if asked > self.max_retry_after => None,
            Some(asked) => Some(asked.max(own)),
            None => Some(own),
        }
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// `Retry-After`: seconds, or a date; some registries put a Unix time there.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    const UNIX_TIMES_FROM: u64 = 1_000_000_000;
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        if seconds >= UNIX_TIMES_FROM {
            let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
            return Some(Duration::from_secs(seconds.saturating_sub(now)));
        }
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn retry_after_table() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (text, expected) in [
            ("3", Some(3)),
            ("0", Some(0)),
            ("1700000009", Some(9)),
            ("1600000000", Some(0)),
            ("Tue, 14 Nov 2023 22:13:25 GMT", Some(5)),
            ("Tue, 14 Nov 2000 22:13:25 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[test]
    fn delays_end() {
        let retry = Retry {
            times: 3,
            ..Retry::default()
        };
        let mut delays = retry.delays();
        assert!(delays.next(None).is_some());
        assert_eq!(
            delays.next(Some(Duration::from_secs(20))),
            Some(Duration::from_secs(20))
        );
        assert_eq!(delays.next(Some(Duration::from_secs(61))), None);
        assert_eq!(delays.next(None), None);
    }
}
