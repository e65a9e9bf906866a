//! Dead rows: by reason, and a frozen selection of them to be tried again or skipped.

use axum::extract::Query;
use axum::http::StatusCode;
use serde::Deserialize;

use super::cron::cancel_button;
use super::{Answer, Done, View, done, given, queue, refuse_without_worker};
use crate::operations::bulk::{self, Bulk, Verb};
use crate::operations::dead::{self, Selection};
use crate::web::console::change::Change;
use crate::web::console::guard::Refusal;
use crate::web::console::page::{Action, Section};

/// The most rows of one selection.
const MOST: u32 = 20_000;
/// Those of them that are shown.
const SHOWN: usize = 200;

pub async fn groups(view: View) -> Answer {
    let groups = Section {
        command: "order-worker dead list".into(),
        none: "Nothing is dead.",
        ..Section::list("Dead rows by reason", &dead::groups(view.pool()).await?)
    };
    let runs = bulk::runs(view.pool(), None, 20).await?;
    let runs = Section {
        command: "order-worker dead runs".into(),
        none: "Nothing was redriven or skipped yet.",
        ..Section::with_buttons("Redriven and skipped, the newest first", &runs, |run| {
            cancel_button(run.id, run.finished_at)
        })
    };
    view.live("Dead", "/dead", &[groups, runs])
}

/// Rows of a queue, with these words in their reason.
#[derive(Deserialize)]
pub struct Asked {
    queue: String,
    #[serde(default)]
    because: String,
}

pub async fn selection(view: View, Query(asked): Query<Asked>) -> Answer {
    let queue = queue(&asked.queue)?;
    let selection = Selection { queue: Some(queue), reason: given(&asked.because), ..Selection::default() };
    let rows = dead::list(view.pool(), &selection, MOST).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    let button = |label, path| Action::new(label, path, "ids", ids.join(" "));
    let shown = if rows.len() > SHOWN { format!(", the first {SHOWN} shown") } else { String::new() };
    let because = given(&asked.because).map(|words| format!(" --because '{words}'")).unwrap_or_default();
    let title = format!("{} dead rows of {queue}, as they are now{shown}", rows.len());
    let section = Section {
        command: format!("order-worker dead redrive --queue {queue}{because}"),
        actions: if rows.is_empty() {
            Vec::new()
        } else {
            vec![button("Try these again", "/dead/redrive"), button("Skip these", "/dead/skip")]
        },
        none: "None of them is dead any more.",
        ..Section::list(title, &rows[..rows.len().min(SHOWN)])
    };
    view.still("Dead", &[section])
}

/// The rows that were shown, whatever has died since.
#[derive(Deserialize)]
pub struct Chosen {
    ids: String,
}

pub async fn redrive(change: Change<Chosen>) -> Done {
    ask(change, Verb::Redrive, false).await
}

pub async fn skip(change: Change<Chosen>) -> Done {
    ask(change, Verb::Skip, false).await
}

/// The same of a message that is not sent, dead or not.
pub async fn redrive_message(change: Change<Chosen>) -> Done {
    ask(change, Verb::Redrive, true).await
}

pub async fn skip_message(change: Change<Chosen>) -> Done {
    ask(change, Verb::Skip, true).await
}

async fn ask(change: Change<Chosen>, verb: Verb, unsent: bool) -> Done {
    let ids: Result<Vec<i64>, _> = change.form.ids.split_whitespace().map(str::parse).collect();
    let ids = ids.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "ids are numbers".into()))?;
    refuse_without_worker(change.pool(), None).await?;
    let (rows, actor, reason) = (ids.len() as u64, change.actor.clone(), change.reason()?.to_owned());
    let bulk = Bulk { verb, rows, actor, reason, unsent };
    let mut tx = change.begin().await?;
    bulk::ask(&mut tx, &ids, &bulk, &format!("{} rows", ids.len())).await?;
    done(tx, "/dead").await
}
