//! `worker.cron`: when the jobs run.

use serde::Deserialize;

use super::Job;
use crate::engine::runs::settings::Entry;
use crate::engine::runs::{Schedule, TimeZone};
use crate::platform::settings::{Key, Rule};

/// When each job runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    /// The time zone of all schedules.
    pub time_zone: TimeZone,
    /// Expired sessions.
    pub session_cleanup: Entry,
    /// Abandoned carts.
    pub cart_cleanup: Entry,
    /// Orders that were not paid in time.
    pub order_cleanup: Entry,
    /// Reservations that were not used in time.
    pub reservation_cleanup: Entry,
    /// Orders that were paid on delivery.
    pub cod_auto_confirm: Entry,
}

impl Cron {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("time_zone", Rule::text::<TimeZone>(TimeZone::ALLOWED)),
        Key::section("session_cleanup", Entry::KEYS),
        Key::section("cart_cleanup", Entry::KEYS),
        Key::section("order_cleanup", Entry::KEYS),
        Key::section("reservation_cleanup", Entry::KEYS),
        Key::section("cod_auto_confirm", Entry::KEYS),
    ];

    /// The settings of a job.
    #[must_use]
    pub const fn entry(&self, job: Job) -> &Entry {
        match job {
            Job::SessionCleanup => &self.session_cleanup,
            Job::CartCleanup => &self.cart_cleanup,
            Job::OrderCleanup => &self.order_cleanup,
            Job::ReservationCleanup => &self.reservation_cleanup,
            Job::CodAutoConfirm => &self.cod_auto_confirm,
        }
    }

    /// The schedule of a job.
    #[must_use]
    pub fn schedule(&self, job: Job) -> Schedule {
        Schedule::new(self.entry(job).schedule.clone(), self.time_zone.clone())
    }
}
