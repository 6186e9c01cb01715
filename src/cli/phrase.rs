//! What is known of a zone, in a few words each.

use super::table::size;
use crate::layout::zone::{Pace, Reason};
use crate::wire::Policy;
use std::time::Duration;

/// When the edges of a zone pass, and what it keeps.
pub(super) fn policy(pace: Pace, policy: &Policy) -> String {
    let Policy { click_ms, commits, bytes, deadline_ms, keep_eras, keep_bytes } = *policy;
    let mut parts = Vec::new();
    match pace {
        Pace::Free => {}
        Pace::Lockstep => parts.push("lockstep".to_owned()),
        Pace::Revocable => parts.push("revocable lockstep".to_owned()),
    }
    if pace.is_lockstep() {
        parts.push(format!("{deadline_ms} ms deadline"));
    }
    if click_ms != 0 {
        parts.push(format!("click {click_ms} ms"));
    }
    if commits != 0 {
        parts.push(format!("every {}", count(commits, "commit")));
    }
    if bytes != 0 {
        parts.push(format!("every {}", size(bytes)));
    }
    if parts.is_empty() {
        parts.push("exact".to_owned());
    }
    let eras = (keep_eras != 0).then(|| count(keep_eras.into(), "era"));
    let bytes = (keep_bytes != 0).then(|| format!("{} a lane", size(keep_bytes)));
    let kept: Vec<_> = eras.into_iter().chain(bytes).collect();
    if !kept.is_empty() {
        parts.push(format!("keeps {}", kept.join(" and ")));
    }
    parts.join(", ")
}

/// What a writer of a zone of this pace is at: `straddles`, over how many edges it has had a batch open, or was late.
pub(super) fn writer(pace: Pace, open_batch: bool, straddles: u32, permits: bool) -> String {
    let straddles = u64::from(straddles);
    let mut parts = Vec::new();
    match (open_batch, straddles) {
        (false, _) => {}
        (true, 1..) if !pace.is_lockstep() => parts.push(format!("open over {}", count(straddles, "edge"))),
        (true, _) => parts.push("batch open".to_owned()),
    }
    if pace.is_lockstep() {
        match (permits, straddles) {
            (true, _) => parts.push("has given its permit".to_owned()),
            (false, 0) => {}
            (false, _) => parts.push(format!("late at {}", count(straddles, "edge"))),
        }
    }
    parts.join(", ")
}

/// What a channel's writers do when a reader is behind; `evict_after`: in milliseconds.
pub(super) fn delivery(delivery: Option<&str>, evict_after: Option<u32>) -> String {
    match (delivery, evict_after) {
        (Some(delivery), Some(ms)) => format!("{delivery}, evicts after {ms} ms"),
        (delivery, _) => delivery.unwrap_or_default().to_owned(),
    }
}

/// Why an edge passed, its tag (in both forms that people write it in), and the writers whose work it had to leave to a later era.
pub(super) fn edge(reason: &str, tag: Option<u64>, straddlers: &[String]) -> String {
    let mut parts = vec![reason.to_owned()];
    parts.extend(tag.map(|tag| format!("tag {tag} ({tag:#x})")));
    if !straddlers.is_empty() {
        let is_late = reason == Reason::Deadline.name();
        let how = if is_late { "without" } else { "straddled by" };
        parts.push(format!("{how} {}", straddlers.join(", ")));
    }
    parts.join(", ")
}

/// How long ago.
pub(super) fn ago(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms ago", time.as_millis()),
        1..100 => format!("{:.1} s ago", time.as_secs_f64()),
        100..6000 => format!("{} min ago", time.as_secs() / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

/// So many of something.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let none = Policy::default();
        assert_eq!(policy(Pace::Free, &none), "exact");
        let all =
            Policy { click_ms: 20, commits: 1, bytes: 65536, deadline_ms: 0, keep_eras: 100, keep_bytes: 1 << 20 };
        let said = "click 20 ms, every 1 commit, every 64.0 KiB, keeps 100 eras and 1.0 MiB a lane";
        assert_eq!(policy(Pace::Free, &all), said);
        let lockstep = Policy { deadline_ms: 100, ..none };
        assert_eq!(policy(Pace::Lockstep, &lockstep), "lockstep, 100 ms deadline");
        assert_eq!(policy(Pace::Revocable, &lockstep), "revocable lockstep, 100 ms deadline");
    }

    #[test]
    fn writers() {
        assert_eq!(writer(Pace::Free, false, 3, false), "", "it was open then, and is not now");
        assert_eq!(writer(Pace::Free, true, 0, false), "batch open");
        assert_eq!(writer(Pace::Free, true, 1, false), "open over 1 edge");
        assert_eq!(writer(Pace::Lockstep, true, 2, false), "batch open, late at 2 edges");
        assert_eq!(writer(Pace::Lockstep, false, 2, true), "has given its permit");
    }

    #[test]
    fn edges() {
        assert_eq!(edge("click", None, &[]), "click");
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(edge("exact", Some(42), &names), "exact, tag 42 (0x2a), straddled by a, b");
        assert_eq!(edge("deadline", None, &names[..1]), "deadline, without a");
    }

    #[test]
    fn times() {
        assert_eq!(ago(Duration::from_micros(31_900)), "31 ms ago");
        assert_eq!(ago(Duration::from_millis(2_500)), "2.5 s ago");
        assert_eq!(ago(Duration::from_secs(600)), "10 min ago");
        assert_eq!(ago(Duration::from_secs(7_300)), "2 h ago");
    }
}
