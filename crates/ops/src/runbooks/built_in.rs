//! The runbooks in the binary: one for each alert of the platform's own.

/// Name and text of each, by name.
pub(super) const ALL: &[(&str, &str)] = &[
    ("compaction_behind", include_str!("../../runbooks/compaction_behind.md")),
    ("conservation_broken", include_str!("../../runbooks/conservation_broken.md")),
    ("delivery_held", include_str!("../../runbooks/delivery_held.md")),
    ("disk_full", include_str!("../../runbooks/disk_full.md")),
    ("druid_behind", include_str!("../../runbooks/druid_behind.md")),
    ("feed_late", include_str!("../../runbooks/feed_late.md")),
    ("gate_held", include_str!("../../runbooks/gate_held.md")),
    ("landing_lag", include_str!("../../runbooks/landing_lag.md")),
    ("memory_high", include_str!("../../runbooks/memory_high.md")),
    ("poison_records", include_str!("../../runbooks/poison_records.md")),
    ("schema_drift", include_str!("../../runbooks/schema_drift.md")),
    ("source_silent", include_str!("../../runbooks/source_silent.md")),
    ("store_unreachable", include_str!("../../runbooks/store_unreachable.md")),
];
