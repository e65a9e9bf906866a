//! Another body for a row that cannot be done as it is: checked when it is given, by the same code that will use it.

use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::Error;
use crate::engine::audit;
use crate::engine::queue::{Queue, State};
use crate::shop::announcements::shape::{Field, ITEM, Kind, shape};
use crate::shop::payments::read;

const CALL: &[Field] = &[("reservation_id", Kind::Text), ("order_item_id", Kind::Id), ("reason", Kind::MaybeEmpty)];
/// May be left out, or be null.
const OPTIONAL: &[Field] = &[("user_id", Kind::MaybeEmpty), ("reason", Kind::MaybeEmpty)];
/// Fields that identify the change that is announced: an edit must not alter them.
const KEPT: &[&str] = &["event_type", "old_status", "new_status", "timestamp", "return_id", "exchange_id", "status"];

#[derive(sqlx::FromRow)]
struct Row {
    queue: String,
    state: State,
    key: String,
    topic: Option<String>,
    order_id: Option<String>,
    body: Option<Value>,
}

/// Gives a row that is dead, or waits for its next attempt, another body, and tries it again; the old body is kept in
/// `order_worker.edits`. Returns its queue.
///
/// # Errors
///
/// [`Error::Refused`] when there is no such row, or the body would fail again: with the field, what it expects, and what came.
pub async fn edit(tx: &mut PgConnection, id: i64, body: &[u8], reason: &str, actor: &str) -> Result<String, Error> {
    let row: Option<Row> = sqlx::query_as(include_str!("sql/editable.sql")).bind(id).fetch_optional(&mut *tx).await?;
    let editable = |row: &Row| row.queue != Queue::RUNS.as_str() && matches!(row.state, State::Dead | State::Waiting);
    let Some(row) = row.filter(editable) else {
        let next = "order-worker dead list; order-worker outbox list --state waiting";
        return Err(Error::refused(format!("row {id} is neither dead nor waiting"), next));
    };
    let topic = row.topic.as_deref().unwrap_or_default();
    let (subject, reference) = match row.queue.as_str() {
        "inbox" => payment(topic, body).map(|(order, payment)| (Some(order), Some(payment)))?,
        "dapr" => {
            let fields = object(body)?;
            announcement(topic, &row, &fields)?;
            (fields["order_id"].as_str().map(str::to_owned), None)
        }
        _ => {
            call(tx, &row, &object(body)?).await?;
            (row.order_id, None)
        }
    };
    let edited = sqlx::query_scalar("select order_worker.edit_row($1, $2, $3, $4, $5, $6)");
    let queue: String =
        edited.bind(id).bind(body).bind(subject).bind(reference).bind(actor).bind(reason).fetch_one(&mut *tx).await?;
    audit::record(tx, actor, "dead edit", &id.to_string(), &json!({ "reason": reason })).await?;
    Ok(queue)
}

fn wrong(what: impl Into<String>) -> Error {
    Error::refused(what, "mend the body and give it again; nothing was changed")
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(wrong(format!("the new body: an object is expected, {} came", came(&other)))),
        Err(error) => Err(wrong(format!("the new body is no JSON: line {} column {}", error.line(), error.column()))),
    }
}

/// As the inbox will read it: its reasons name the field, what came and what is expected. Returns the order and the payment.
fn payment(topic: &str, body: &[u8]) -> Result<(String, String), Error> {
    object(body)?;
    let payment = read(topic, body).map_err(|undecodable| wrong(undecodable.to_string()))?;
    Ok((payment.order_id().to_owned(), payment.payment_id().to_owned()))
}

/// Of the topics that this program knows, their shape; of any other, that it is about its order.
fn announcement(topic: &str, row: &Row, fields: &Map<String, Value>) -> Result<(), Error> {
    let expected = shape(topic);
    has(fields, expected, "")?;
    may_have(fields)?;
    for (n, item) in fields.get("items").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let at = format!("items[{n}]");
        let Some(item) = item.as_object() else { return Err(unfit(&at, "an object", came(item))) };
        has(item, ITEM, &format!("{at}."))?;
    }
    same(fields, "order_id", row.order_id.as_deref(), "the order that it was written for")?;
    if expected.len() > 1 {
        let before = |name: &str| row.body.as_ref().and_then(|body| body[name].as_str());
        for name in KEPT {
            same(fields, name, before(name), "as it was decided")?;
        }
    }
    Ok(())
}

async fn call(tx: &mut PgConnection, row: &Row, fields: &Map<String, Value>) -> Result<(), Error> {
    has(fields, CALL, "")?;
    let order = row.order_id.as_deref().unwrap_or_default();
    let item = &fields["order_item_id"];
    let item = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    let found: Option<(String, Option<String>)> =
        sqlx::query_as(include_str!("sql/item.sql")).bind(&item).fetch_optional(&mut *tx).await?;
    let expected = format!("an item of order {order}");
    let reservation = match found {
        None => return Err(unfit("order_item_id", &expected, &format!("{item}, which is none,"))),
        Some((of, _)) if of != order => {
            return Err(unfit("order_item_id", &expected, &format!("{item}, which is of order {of},")));
        }
        Some((_, reservation)) => reservation,
    };
    same(fields, "reservation_id", reservation.as_deref(), "the reservation of that item")?;
    same(fields, "reservation_id", Some(&row.key), "the reservation whose calls go one after the other")
}

/// Refuses a field with another text than this, where there has to be one.
fn same(fields: &Map<String, Value>, name: &str, expected: Option<&str>, why: &str) -> Result<(), Error> {
    match (expected, fields.get(name).and_then(Value::as_str)) {
        (Some(expected), Some(came)) if expected != came => {
            Err(wrong(format!("field `{name}`: `{expected}` is expected, {why}; `{came}` came")))
        }
        (Some(expected), None) => Err(wrong(format!("field `{name}`: `{expected}` is expected, {why}; it is missing"))),
        _ => Ok(()),
    }
}

fn has(fields: &Map<String, Value>, expected: &[Field], within: &str) -> Result<(), Error> {
    for (name, kind) in expected {
        let at = format!("{within}{name}");
        match fields.get(*name) {
            None => return Err(wrong(format!("field `{at}`: {} is expected; it is missing", kind.word()))),
            Some(value) if !kind.takes(value) => return Err(unfit(&at, kind.word(), came(value))),
            Some(_) => {}
        }
    }
    Ok(())
}

fn may_have(fields: &Map<String, Value>) -> Result<(), Error> {
    for (name, kind) in OPTIONAL {
        if let Some(value) = fields.get(*name).filter(|value| !value.is_null() && !kind.takes(value)) {
            return Err(unfit(name, kind.word(), came(value)));
        }
    }
    Ok(())
}

fn unfit(field: &str, expected: &str, came: &str) -> Error {
    wrong(format!("field `{field}`: {expected} is expected, {came} came"))
}

/// The type of a value, without the value: it may be personal.
fn came(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_i64() || number.is_u64() => "a whole number",
        Value::Number(_) => "a number",
        Value::String(text) if text.is_empty() => "empty text",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::announcements::STATUS_CHANGED_TOPIC;
    use crate::shop::payments::CONFIRMED_TOPIC;

    fn said<T>(checked: Result<T, Error>) -> String {
        checked.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_payment_is_refused_with_the_field_what_it_expects_and_what_came() {
        let good = json!({"payment_id": "p1", "order_id": "o1", "amount": 10.1, "currency": "USD"});
        let check = |body: &Value| said(payment(CONFIRMED_TOPIC, body.to_string().as_bytes()));
        assert_eq!(check(&good), "");
        for (field, value, says) in [
            ("order_id", json!(true), "field `order_id` is "),
            ("amount", json!("ten"), "field `amount` is "),
            ("amount", json!(-1), "field `amount` is "),
            ("event_type", json!("payment.failed"), "field `event_type` is "),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert!(check(&body).starts_with(says), "{}", check(&body));
        }
        for (field, value) in [("order_id", json!(7)), ("timestamp", json!("yesterday")), ("metadata", json!([]))] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(check(&body), "", "{field} decides nothing, or is legible");
        }
        let mut body = good;
        body.as_object_mut().unwrap().remove("currency");
        assert!(check(&body).contains("`currency`"), "{}", check(&body));
        assert_eq!(check(&json!([1])), "the new body: an object is expected, a list came");
        assert!(said(payment(CONFIRMED_TOPIC, b"{")).starts_with("the new body is no JSON: line 1"));
    }

    #[test]
    fn an_announcement_keeps_its_order_and_what_was_decided() {
        let body = json!({"event_type": "order.status_changed", "order_id": "o1", "order_number": "N1", "old_status": "pending",
                          "new_status": "cancelled", "timestamp": "2026-01-01T00:00:00Z"});
        let row = Row {
            queue: "dapr".into(),
            state: State::Dead,
            key: "o1".into(),
            topic: None,
            order_id: Some("o1".into()),
            body: Some(body.clone()),
        };
        let check = |body: &Value| said(announcement(STATUS_CHANGED_TOPIC, &row, body.as_object().unwrap()));
        let mut mended = body.clone();
        mended["reason"] = json!("Not paid in time");
        assert_eq!(check(&mended), "");
        for (field, value, says) in [
            ("order_id", "o2", "field `order_id`: `o1` is expected, the order that it was written for; `o2` came"),
            (
                "new_status",
                "confirmed",
                "field `new_status`: `cancelled` is expected, as it was decided; `confirmed` came",
            ),
        ] {
            let mut other = body.clone();
            other[field] = json!(value);
            assert_eq!(check(&other), says);
        }
        let items = json!({"event_type": "order.return.requested", "return_id": "r1", "order_id": "o1", "order_number": "N1",
                           "status": "requested", "items": [{"order_item_id": true, "sku": "S", "quantity": 1}],
                           "timestamp": "2026-01-01T00:00:00Z"});
        let row = Row { body: None, ..row };
        assert_eq!(
            said(announcement("order.return.requested", &row, items.as_object().unwrap())),
            "field `items[0].order_item_id`: a whole number or text is expected, true or false came"
        );
        assert_eq!(said(announcement("custom", &row, json!({"order_id": "o1", "x": 1}).as_object().unwrap())), "");
    }
}
