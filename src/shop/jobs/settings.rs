//! `worker.cron`: when the jobs run.

use super::Job;
use crate::engine::runs::settings::Entry;
use crate::engine::runs::{Schedule, TimeZone};
use crate::platform::settings::{Rule, section};

section! {
    /// When each job runs.
    pub struct Cron {
        time_zone: TimeZone = Rule::text::<TimeZone>(TimeZone::ALLOWED),
        session_cleanup: Entry,
        cart_cleanup: Entry,
        order_cleanup: Entry,
        reservation_cleanup: Entry,
        cod_auto_confirm: Entry,
    }
}

impl Cron {
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
