//! One order's whole story.

use axum::extract::Query;
use serde::Deserialize;

use super::{Answer, View};
use crate::operations::story;
use crate::web::console::page::Section;
use crate::web::listing::encoded;

/// An order, by its id or its number.
#[derive(Deserialize)]
pub struct Asked {
    id: String,
}

pub async fn show(view: View, Query(Asked { id }): Query<Asked>) -> Answer {
    let (order, steps) = story::of(view.pool(), &id).await?;
    let title = match &order {
        Some(order) => format!(
            "{}: {}, {} {}, paid by {}",
            order.id, order.status, order.total_amount, order.currency, order.payment_method
        ),
        None => format!("{id}: there is no such order"),
    };
    let section = Section {
        command: format!("order-worker order show {id}"),
        none: "Nothing is known of it.",
        ..Section::list(title, &steps)
    };
    view.live("Order", &format!("/order?id={}", encoded(&id)), &[section])
}
