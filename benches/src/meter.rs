//! One run of one case.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// What one run took, for one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Time on the wall, in nanoseconds.
    pub wall_ns: u64,
    /// User and system time of this process and of its children that were waited for, in nanoseconds; `None` where the case
    /// gave the time itself.
    pub cpu_ns: Option<u64>,
}

/// Handed to a case's closure: what it does inside [`Meter::measure`] counts, what it does around it does not.
#[derive(Debug, Default)]
pub struct Meter {
    wall: Duration,
    cpu: Option<Duration>,
    operations: u64,
}

impl Meter {
    /// Runs `work` and adds what it took. May be called several times in one run; the run's sample is then the mean.
    pub fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.measure_many(1, work)
    }

    /// Like [`Meter::measure`] for work that does the operation `operations` times, where one is too short for the clock.
    pub fn measure_many<T>(&mut self, operations: u64, work: impl FnOnce() -> T) -> T {
        let cpu_before = cpu_time();
        let before = Instant::now();
        let result = work();
        let wall = before.elapsed();
        let cpu = cpu_time().saturating_sub(cpu_before);
        self.wall += wall;
        self.cpu = Some(self.cpu.unwrap_or_default() + cpu);
        self.operations += operations;
        result
    }

    /// Adds a time that was taken elsewhere: inside a container, between two clocks of the case's own.
    pub fn record(&mut self, wall: Duration) {
        self.wall += wall;
        self.operations += 1;
    }

    /// The mean over the operations measured, or `None` if there were none.
    pub(crate) fn sample(&self) -> Option<Sample> {
        let each = |total: Duration| {
            let nanoseconds = total.as_nanos() / u128::from(self.operations.max(1));
            u64::try_from(nanoseconds).unwrap_or(u64::MAX)
        };
        (self.operations > 0).then(|| Sample {
            wall_ns: each(self.wall),
            cpu_ns: self.cpu.map(each),
        })
    }
}

/// User and system time so far, of this process and its children that were waited for.
fn cpu_time() -> Duration {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| getrusage(who).ok())
        .flat_map(|usage| [usage.user_time(), usage.system_time()])
        .map(|time| {
            let microseconds = i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_usec());
            Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_inside_counts_and_operations_divide() {
        let mut meter = Meter::default();
        assert_eq!(meter.sample(), None);
        std::thread::sleep(Duration::from_millis(30));
        meter.measure_many(10, || std::thread::sleep(Duration::from_millis(20)));
        let sample = meter.sample().expect("measured once");
        assert!(sample.wall_ns >= 2_000_000, "{sample:?}");
        assert!(
            sample.cpu_ns.expect("measured here") < 2_000_000,
            "{sample:?}"
        );
    }

    #[test]
    fn children_are_charged_when_waited_for() {
        let mut meter = Meter::default();
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let status = meter.measure(|| {
            std::process::Command::new("/bin/sh")
                .args(["-c", busy])
                .status()
        });
        assert!(status.expect("a shell").success());
        assert!(
            meter
                .sample()
                .and_then(|sample| sample.cpu_ns)
                .expect("measured")
                > 1_000_000
        );
    }

    #[test]
    fn a_recorded_time_has_no_cpu_time() {
        let mut meter = Meter::default();
        meter.record(Duration::from_micros(5));
        meter.record(Duration::from_micros(7));
        assert_eq!(
            meter.sample(),
            Some(Sample {
                wall_ns: 6_000,
                cpu_ns: None
            })
        );
    }
}
