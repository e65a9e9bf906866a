//! `order-worker migrate`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::args::Migrate;
use super::exit::{Exit, Stop};
use super::{output, roles};
use crate::app::config::{self, Config};
use crate::platform::settings::DatabaseUrl;

/// The database to migrate, as a role that may create tables; the worker's own role need not.
const VARIABLE: &str = "MIGRATE_DATABASE_URL";

pub(super) fn run(
    migrate: &Migrate,
    conf: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<(), Stop> {
    let env: BTreeMap<_, _> = env.collect();
    let in_file = config::secret_in_file(&env, VARIABLE)?;
    let given = in_file.or_else(|| env.get(VARIABLE).filter(|text| !text.is_empty()).cloned());
    let owner = given.map(DatabaseUrl::try_from).transpose().map_err(|why| {
        Stop::failed(
            Exit::Usage,
            format!("{VARIABLE} is not allowed, {why}; allowed: {}", DatabaseUrl::ALLOWED),
            format!("set {VARIABLE}, or leave it out to migrate as the worker's own role"),
        )
    })?;
    let report = match owner {
        // The worker's own role may still be named: it is granted its rights.
        Some(owner) => {
            let config = Config::read(conf, env.into_iter())?.config;
            let runtime = config.data.database.source.as_ref();
            roles::block_on(roles::migrate(&owner, runtime, migrate.dry_run))?
        }
        None => {
            let config = Config::load(conf, env.into_iter())?.config;
            roles::block_on(roles::migrate(config.database_url()?, None, migrate.dry_run))?
        }
    };
    output::write(|out| report.iter().try_for_each(|line| writeln!(out, "{line}")))
}
