use super::*;
use serde_json::json;

const LEASE: Rule = Rule::time(Duration::from_secs(1), Duration::from_secs(600));

#[test]
fn a_whole_number_is_taken_from_both_layers_and_nothing_else_is() {
    let batch = Rule::integer(1, 10);
    assert_eq!(batch.read_scalar(&json!(10)), Ok(json!(10)));
    assert_eq!(batch.read_text(" 10 "), Ok(json!(10)));
    for bad in [json!(0), json!(11), json!(-1), json!(1.5), json!("5"), json!(true), json!(null)] {
        assert!(batch.read_scalar(&bad).is_err(), "{bad}");
    }
    for bad in ["", "0", "11", "-1", "1.5", "5 rows", "99999999999999999999999999"] {
        assert!(batch.read_text(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_decimal_number_is_taken_from_both_layers_with_its_digits() {
    let tolerance = Rule::Decimal { max: 100 };
    assert_eq!(tolerance.read_scalar(&json!(0.05)), Ok(json!("0.05")));
    assert_eq!(tolerance.read_scalar(&json!(0)), Ok(json!("0")));
    assert_eq!(tolerance.read_scalar(&json!("0.10")), Ok(json!("0.10")));
    assert_eq!(tolerance.read_text(" 100 "), Ok(json!("100")));
    for bad in ["", "-0.01", "100.01", "0,05", "1e3", "five", "NaN"] {
        assert!(tolerance.read_text(bad).is_err(), "{bad}");
    }
    assert!(tolerance.read_scalar(&json!(true)).is_err());
}

#[test]
fn true_and_false_are_taken_from_both_layers_and_nothing_else_is() {
    assert_eq!(Rule::Boolean.read_scalar(&json!(false)), Ok(json!(false)));
    assert_eq!(Rule::Boolean.read_text("true"), Ok(json!(true)));
    for bad in [json!(1), json!("true"), json!("off"), json!(null)] {
        assert!(Rule::Boolean.read_scalar(&bad).is_err(), "{bad}");
    }
    for bad in ["", "1", "yes", "TRUE"] {
        assert!(Rule::Boolean.read_text(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_time_needs_its_unit() {
    assert_eq!(LEASE.read_text("10s"), Ok(json!("10s")));
    assert_eq!(LEASE.read_scalar(&json!("1m 30s")), Ok(json!("1m 30s")));
    let refusal = LEASE.read_scalar(&json!(10)).unwrap_err();
    assert_eq!(refusal.reason.as_deref(), Some("it has no unit"));
    for bad in ["10", "-5s", "999ms", "601s", "soon", "", "99999999999999999999d"] {
        assert!(LEASE.read_text(bad).is_err(), "{bad}");
    }
}

#[test]
fn text_that_yaml_takes_for_something_else_is_to_be_quoted() {
    let refusal = Rule::name().read_scalar(&json!(false)).unwrap_err();
    assert!(refusal.reason.unwrap().contains("quotes"));
}

#[test]
fn a_refused_secret_is_not_shown() {
    let refusal = Rule::token().read_text("hunter2\n").unwrap_err();
    assert_eq!(refusal.given, "***");
    assert!(refusal.reason.unwrap().contains("line break"));
    let number = Rule::password().read_scalar(&json!(12345)).unwrap_err();
    assert_eq!(number.given, "***");
}

#[test]
fn times_are_written_as_the_file_writes_them() {
    let all = [0, 250, 1_000, 90_000, 120_000, 86_400_000, 31_536_000_000];
    let shown: Vec<_> = all.map(|ms| short(Duration::from_millis(ms))).into();
    assert_eq!(shown, ["0s", "250ms", "1s", "90s", "2m", "1d", "365d"]);
}
