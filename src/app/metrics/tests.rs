//! The instruments, against their document.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::engine::inbox::{Failure, Outcome};
use crate::engine::queue::{Contents, Sample};
use crate::engine::runs::RunOutcome;
use crate::shop::orders::Action;
use crate::shop::{Answer, announcements, warehouse};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// Name of a metric: (type, labels).
type Table = BTreeMap<String, (String, Vec<String>)>;

fn with_everything_set() -> Metrics {
    let metrics = Metrics::new().unwrap();
    let second = Duration::from_secs(1);
    metrics.engine.event_accepted(second);
    metrics.engine.event_applied(second);
    metrics.dapr.published(second);
    for job in Job::ALL {
        metrics.engine.run_finished(job.as_str(), RunOutcome::Succeeded, Some(second));
    }
    let jobs = Job::ALL.map(|job| (job.to_string(), 1.0, 1.0)).to_vec();
    metrics.engine.observe(&Sample { jobs, ..Sample::default() });
    metrics.shop.incidents_open(&[]);
    metrics.shop.evidence(&shop::jobs::Evidence::default());
    metrics.operations.proven(0, 1.0);
    metrics.process.pool(1, 2, 10);
    metrics.process.database_up(true);
    metrics.dapr.sidecar_up(true);
    metrics.dapr.resiliencies(1);
    metrics.dapr.redis_up(false);
    metrics.process.consul_up(true);
    metrics.shop.warehouse_instances(2);
    metrics
}

fn registered() -> Table {
    let families = with_everything_set().process.registry().gather();
    let row = |family: &prometheus::proto::MetricFamily| {
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        let labels = family.get_metric()[0].get_label().iter().map(|label| label.name().to_owned());
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        (family.name().to_owned(), (kind, labels))
    };
    families.iter().map(row).collect()
}

fn documented() -> Table {
    let ticked = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = DOCUMENT.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let row = |line: &str| {
        let cells: Vec<_> = line.split(" | ").collect();
        assert_eq!(cells.len(), 6, "six cells: {line}");
        let mut labels = ticked(cells[2]);
        labels.sort();
        (ticked(cells[0]).remove(0), (cells[1].trim().to_owned(), labels))
    };
    rows.take_while(|line| line.starts_with('|')).map(row).collect()
}

#[test]
fn the_document_lists_exactly_what_is_registered() {
    assert_eq!(documented(), registered());
}

#[test]
fn every_value_of_a_label_is_explained_in_the_document() {
    for family in with_everything_set().process.registry().gather() {
        for label in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
            let explained = label.name() == "version" || DOCUMENT.contains(&format!("`{}`", label.value()));
            assert!(explained, "{}: `{}` is not explained", family.name(), label.value());
        }
    }
}

#[test]
fn there_are_no_more_series_than_the_document_says() {
    let text = with_everything_set().process.render().unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let (_, rest) = DOCUMENT.split_once("fewer than ").unwrap();
    let most: usize = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(series < most, "{series} series");
    assert!(series > most / 2, "the document says far too much: {series} series");
}

#[test]
fn counters_are_there_from_the_start() {
    let text = Metrics::new().unwrap().process.render().unwrap();
    for series in [
        r#"order_worker_payment_events_consumed_total{topic="payment.confirmed"} 0"#,
        r#"order_worker_payment_events_failed_total{reason="apply_failed",topic="payment.failed"} 0"#,
        r#"order_worker_warehouse_calls_total{method="release",result="refused"} 0"#,
        r#"order_worker_queue_lanes_owned{queue="dapr"} 0"#,
        "order_worker_announcements_published_total 0",
        r#"order_worker_build_info{version="1.0.0"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in:\n{text}");
    }
    assert!(!text.contains("order_worker_database_up"), "an alert before the first probe:\n{text}");
}

#[test]
fn what_happened_is_counted_in_every_clone() {
    let metrics = Metrics::new().unwrap();
    let clone = metrics.clone();
    clone.engine.events_consumed("payment.confirmed", 3);
    clone.engine.event_failed("a topic that nobody knows", Failure::UnknownTopic);
    clone.engine.events_duplicated("payment.failed", 2);
    clone.engine.inbox_settled(Outcome::Applied, 3);
    clone.dapr.published(Duration::from_millis(7));
    clone.shop.warehouse_answered(Action::Confirm, Answer::Failed);
    clone.engine.queue_retried(warehouse::QUEUE);
    clone.engine.lanes_owned(announcements::QUEUE, 64);
    clone.engine.observe(&Sample { paused: vec!["dapr"], ..Sample::default() });
    let text = metrics.process.render().unwrap();
    for series in [
        r#"order_worker_payment_events_consumed_total{topic="payment.confirmed"} 3"#,
        r#"order_worker_payment_events_failed_total{reason="unknown_topic",topic="other"} 1"#,
        r#"order_worker_payment_events_duplicates_total{topic="payment.failed"} 2"#,
        r#"order_worker_inbox_outcomes_total{outcome="applied"} 3"#,
        "order_worker_announcements_published_total 1",
        r#"order_worker_publish_seconds_bucket{le="0.005"} 0"#,
        r#"order_worker_publish_seconds_bucket{le="0.01"} 1"#,
        r#"order_worker_warehouse_calls_total{method="confirm",result="failed"} 1"#,
        r#"order_worker_queue_retries_total{queue="warehouse"} 1"#,
        r#"order_worker_queue_lanes_owned{queue="dapr"} 64"#,
        r#"order_worker_queue_paused{queue="dapr"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in:\n{text}");
    }
}

#[test]
fn a_sample_replaces_the_one_before_it() {
    let metrics = Metrics::new().unwrap();
    let contents = Contents {
        queue: "dapr".into(),
        pending: 5,
        oldest_age: 1.5,
        dead: 1,
        parked: 2,
        paused_at: None,
        paused_by: None,
        pause_reason: None,
    };
    metrics.engine.observe(&Sample { queues: vec![contents], ..Sample::default() });
    metrics.shop.incidents_open(&[("paid_twice".into(), 4)]);
    let text = metrics.process.render().unwrap();
    for series in [
        r#"order_worker_queue_pending{queue="dapr"} 5"#,
        r#"order_worker_queue_pending{queue="inbox"} 0"#,
        r#"order_worker_queue_oldest_age_seconds{queue="dapr"} 1.5"#,
        r#"order_worker_queue_dead{queue="dapr"} 1"#,
        r#"order_worker_queue_parked{queue="dapr"} 2"#,
        r#"order_worker_incidents_open{kind="paid_twice"} 4"#,
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in:\n{text}");
    }
    metrics.engine.observe(&Sample::default());
    metrics.shop.incidents_open(&[]);
    let text = metrics.process.render().unwrap();
    assert!(text.contains(r#"order_worker_queue_pending{queue="dapr"} 0"#), "{text}");
    assert!(text.contains(r#"order_worker_incidents_open{kind="paid_twice"} 0"#), "{text}");
}
