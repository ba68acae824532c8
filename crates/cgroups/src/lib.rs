//! Control groups, v1, v2 and hybrid: limits, statistics, events, freezing and killing.
