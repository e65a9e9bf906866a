//! The layers together, and the manual against the rules.

use super::*;

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://w:hunter2@db/orders");

fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (String, String)> + 'a {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// Loads with a file of this text (empty: no file) and these variables beside DATABASE_URL.
fn load(yaml: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let path = Some(file.path()).filter(|_| !yaml.is_empty());
    Config::load(path, environment(&[&[DATABASE], variables].concat()))
}

/// YAML that sets one key.
fn yaml(path: &str, value: &str) -> String {
    let parts: Vec<_> = path.split('.').collect();
    let mut text = String::new();
    for (depth, part) in parts.iter().enumerate() {
        text += &format!("{}{part}:{}", "  ".repeat(depth), if depth + 1 < parts.len() { "\n" } else { " " });
    }
    text + value + "\n"
}

// The structs know no defaults: that this loads shows that the file has every key.
#[test]
fn the_defaults_hold_without_a_file() {
    let loaded = load("", &[]).unwrap();
    let worker = &loaded.config.worker;
    assert_eq!(worker.eventbus.addr.to_string(), ":5005");
    assert_eq!(worker.queue.lease, Duration::from_secs(10));
    assert_eq!(worker.inbox.keep.keep_keys, Duration::from_secs(365 * 86_400));
    assert_eq!(worker.queue.inbox.concurrency, 2);
    assert_eq!(loaded.config.business.order.auto_cancel_minutes, 1440);
    assert_eq!(loaded.origins.of("worker.queue.lease"), Some(&Origin::Default));
    assert!(worker.eventbus.app_token.is_none() && worker.consul.addr.is_none());
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let text = "worker:\n  queue:\n    lease: 20s\n    poll_interval: 1s\n";
    let loaded = load(text, &[("ORDER_WORKER_QUEUE_LEASE", "30s")]).unwrap();
    assert_eq!(loaded.config.worker.queue.lease, Duration::from_secs(30));
    assert_eq!(loaded.config.worker.queue.poll_interval, Duration::from_secs(1));
    let of = |key| loaded.origins.of(key).unwrap().to_string();
    assert_eq!(of("worker.queue.lease"), "environment ORDER_WORKER_QUEUE_LEASE");
    assert!(of("worker.queue.poll_interval").ends_with(":4"));
    assert_eq!(of("data.database.source"), "environment DATABASE_URL");
    assert_eq!(of("worker.admin.addr"), "default");
}

#[test]
fn the_order_name_wins_over_the_given_name() {
    let loaded = load("", &[("REDIS_ADDR", "a:1"), ("ORDER_DATA_REDIS_ADDR", "b:2")]).unwrap();
    assert_eq!(loaded.config.data.redis.addr.unwrap().to_string(), "b:2");
    let emptied = load("", &[("REDIS_ADDR", "a:1"), ("ORDER_DATA_REDIS_ADDR", "")]).unwrap();
    assert!(emptied.config.data.redis.addr.is_none());
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let path = file.path().to_str().unwrap();
    let loaded = load("", &[("APP_API_TOKEN_FILE", path), ("ORDER_DATA_REDIS_PASSWORD_FILE", path)]).unwrap();
    assert_eq!(loaded.config.worker.eventbus.app_token.unwrap().expose(), "hunter2");
    assert_eq!(loaded.config.data.redis.password.unwrap().expose(), "hunter2");
    let origin = loaded.origins.of("data.redis.password").unwrap().to_string();
    assert_eq!(origin, "environment ORDER_DATA_REDIS_PASSWORD_FILE");
    assert!(load("", &[("APP_API_TOKEN_FILE", "")]).unwrap().config.worker.eventbus.app_token.is_none());

    for (variables, says) in [
        (&[("APP_API_TOKEN_FILE", "/nowhere/token")][..], "APP_API_TOKEN_FILE: /nowhere/token: No such file"),
        (&[("APP_API_TOKEN_FILE", path), ("APP_API_TOKEN", "x")], "APP_API_TOKEN is set as well"),
        (&[("DATABASE_URL_FILE", path), ("DATABASE_URL", "")], "DATABASE_URL_FILE"),
        (&[("ORDER_DATA_REDIS_ADDR_FILE", path)], "ORDER_DATA_REDIS_ADDR_FILE is the variable of no key"),
    ] {
        let refusal = load("", variables).unwrap_err();
        assert!(refusal.to_string().contains(says), "{refusal}");
        assert!(!refusal.to_string().contains("hunter2") && !refusal.hint().is_empty(), "{refusal}");
    }
}

#[test]
fn pages_are_never_open_to_all_without_a_login() {
    for (variable, key) in
        [("ORDER_WORKER_CONSOLE_ADDR", "worker.console.addr"), ("ORDER_WORKER_BOARD_ADDR", "worker.board.addr")]
    {
        for addr in [":8082", "0.0.0.0:8082", "[::]:8082", "10.0.0.1:8082", "pod.local:8082"] {
            let refusal = load("", &[(variable, addr)]).unwrap_err().to_string();
            assert!(refusal.contains(key) && refusal.contains("worker.console.users"), "{addr}: {refusal}");
            assert!(load("", &[(variable, addr), ("ORDER_WORKER_CONSOLE_USERHEADER", "X-Forwarded-User")]).is_ok());
        }
    }
}

#[test]
fn a_missing_database_is_refused_where_one_is_needed() {
    let missing = Config::load(None, environment(&[])).unwrap_err();
    assert_eq!(missing, ConfigError::NoDatabase { variable_is_empty: false });
    let empty = Config::load(None, environment(&[("DATABASE_URL", "")])).unwrap_err();
    assert!(empty.hint().contains("empty"), "{}", empty.hint());
    let read = Config::read(None, environment(&[])).unwrap();
    assert!(read.config.database_url().is_err());
}

#[test]
fn secrets_are_never_shown() {
    let secrets =
        [("APP_API_TOKEN", "hunter2"), ("DAPR_API_TOKEN", "hunter2"), ("ORDER_DATA_REDIS_PASSWORD", "hunter2")];
    let loaded = load("", &secrets).unwrap();
    assert_eq!(loaded.config.worker.dapr.api_token.as_ref().unwrap().expose(), "hunter2");
    let shown = format!("{loaded:?} {loaded:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let masked = loaded.origins.iter().filter(|setting| setting.value.to_string().contains("***"));
    assert_eq!(masked.count(), 4);
    // An empty secret is shown as what it is: not set.
    let setting =
        |loaded: &Loaded, key| loaded.origins.iter().find(|setting| setting.key == key).unwrap().value.clone();
    assert_eq!(setting(&load("", &[]).unwrap(), "worker.dapr.api_token"), "");
    assert_eq!(setting(&loaded, "data.database.source"), "postgres://w:***@db/orders");

    let refused = load(&yaml("data.database.source", "postgres://w:hunter2@db:x/orders"), &[]);
    assert!(!refused.unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn a_refusal_names_key_place_limits_and_way_out() {
    let refusal = load(&yaml("worker.queue.inbox.batch", "0"), &[]).unwrap_err().to_string();
    assert!(refusal.starts_with("worker.queue.inbox.batch: 0 is not allowed"), "{refusal}");
    assert!(refusal.contains("1 to 10000") && refusal.contains(":4)"), "{refusal}");
    let unknown = load(&yaml("worker.queue.inbox.bacth", "5"), &[]).unwrap_err();
    assert_eq!(unknown.hint(), "did you mean worker.queue.inbox.batch?");
    let driver = load(&yaml("data.database.driver", "mysql"), &[]).unwrap_err().to_string();
    assert!(driver.contains("one of postgres"), "{driver}");
}

/// Sets one key by the file and by its variable, alone, and says whether each took it. The keys
/// that it must agree with are moved out of the way first.
fn taken(path: &str, value: &str) -> [Result<Loaded, ConfigError>; 2] {
    let apart: &[(&str, &str)] = match path {
        "worker.queue.lease" => &[("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "500ms")],
        "worker.database.statement_timeout" => &[("ORDER_WORKER_DATABASE_LOCKTIMEOUT", "10ms")],
        "worker.database.lock_timeout" => &[("ORDER_WORKER_DATABASE_STATEMENTTIMEOUT", "10m")],
        "worker.database.idle_in_transaction_timeout" | "worker.queue.poll_interval" => {
            &[("ORDER_WORKER_QUEUE_LEASE", "10m")]
        }
        "worker.inbox.keep_bodies" => &[("ORDER_WORKER_INBOX_KEEPKEYS", "3650d")],
        "worker.inbox.keep_keys" => &[("ORDER_WORKER_INBOX_KEEPBODIES", "1d")],
        _ => &[],
    };
    let variable = environment::variable(path);
    [load(&yaml(path, value), apart), load("", &[apart, &[(&variable, value)]].concat())]
}

#[test]
fn every_limit_holds_at_its_edges_in_both_layers() {
    for (path, rule) in schema::values() {
        let (inside, outside) = match rule {
            Rule::Integer { min, max } => (
                vec![min.to_string(), max.to_string()],
                vec![(i128::from(min) - 1).to_string(), (max + 1).to_string(), "many".to_owned()],
            ),
            Rule::Time { min, max } => {
                let ms = |time: Duration| format!("{}ms", time.as_millis());
                let step = Duration::from_millis(1);
                let below = min.checked_sub(step).map_or("-1ms".to_owned(), ms);
                (vec![ms(min), ms(max)], vec![below, ms(max + step), "10".to_owned()])
            }
            Rule::Decimal { max } => (
                vec!["0".to_owned(), "0.01".to_owned(), max.to_string()],
                vec!["-0.01".to_owned(), format!("{max}.01"), "few".to_owned()],
            ),
            Rule::Boolean => (vec!["true".to_owned(), "false".to_owned()], vec!["maybe".to_owned(), "1".to_owned()]),
            Rule::Choice(words) => (words.iter().map(|word| (*word).to_owned()).collect(), vec!["other".to_owned()]),
            Rule::Text { .. } | Rule::Secret { .. } => continue,
        };
        for value in inside {
            for layer in taken(&path, &value) {
                assert!(layer.is_ok(), "{path}={value}: {}", layer.unwrap_err());
            }
        }
        for value in outside {
            for layer in taken(&path, &value) {
                let refusal = layer.expect_err(&format!("{path}={value}")).to_string();
                assert!(refusal.contains(&path) && refusal.contains(&rule.allowed()), "{refusal}");
            }
        }
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let cases = [
        ("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "10s", "worker.queue.lease"),
        ("ORDER_WORKER_DATABASE_LOCKTIMEOUT", "30s", "worker.database.statement_timeout"),
        ("ORDER_WORKER_QUEUE_POLLINTERVAL", "10s", "worker.queue.lease"),
        ("ORDER_WORKER_INBOX_KEEPKEYS", "29d", "worker.inbox.keep_bodies"),
    ];
    for (variable, value, other) in cases {
        let refusal = load("", &[(variable, value)]).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains(variable) && text.contains(other), "{text}");
        assert!(!refusal.hint().is_empty());
    }
}

#[test]
fn the_default_file_has_every_key_and_a_comment_with_its_limits_above_each() {
    let origin = |line| Origin::File { file: String::new(), line };
    let mut undocumented = Vec::new();
    let lines: Vec<&str> = DEFAULT.lines().collect();
    let comment_above = |line: usize| {
        let above = lines[..line - 1].iter().rev();
        let comment: Vec<_> = above.take_while(|text| text.trim_start().starts_with('#')).collect();
        comment.into_iter().rev().map(|text| text.trim_start_matches([' ', '#'])).collect::<Vec<_>>().join(" ")
    };
    for (number, text) in lines.iter().enumerate() {
        let is_key = text.trim_start().split_once(':').is_some_and(|(key, _)| !key.starts_with('#'));
        if is_key && comment_above(number + 1).is_empty() {
            undocumented.push(text.trim().to_owned());
        }
    }
    assert!(undocumented.is_empty(), "{undocumented:?}");

    let rules: BTreeMap<_, _> = schema::values().into_iter().collect();
    let found = file::values(DEFAULT, origin).unwrap();
    assert_eq!(found.len(), rules.len(), "a key is missing in configs/config.yaml");
    for (path, _, place) in found {
        let Origin::File { line, .. } = place else { panic!("{path} has no line") };
        let comment = comment_above(usize::try_from(line).unwrap());
        let allowed = rules[&path].allowed();
        // The limits themselves ("1 to 10000"), the words of a choice; the rest is prose.
        let told = match rules[&path] {
            Rule::Integer { .. } | Rule::Decimal { .. } | Rule::Time { .. } => allowed.rsplit_once(", ").unwrap().1,
            Rule::Boolean => &allowed,
            Rule::Choice(words) => words[words.len() - 1],
            Rule::Text { optional: true, .. } => "empty",
            Rule::Text { .. } => continue,
            Rule::Secret { .. } => "secret",
        };
        assert!(comment.contains(told), "{path}: {told:?} is not told in {comment:?}");
    }
}

/// docs/configuration.md, made of the default file and the rules.
fn reference() -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    let (mut path, mut comment): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in DEFAULT.lines() {
        let text = line.trim_start();
        if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some((key, _)) = text.split_once(':') {
            path.truncate((line.len() - text.len()) / 2);
            path.push(key.to_owned());
            lines.push((path.join("."), comment.join(" ")));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    let meaning: BTreeMap<_, _> = lines.into_iter().collect();
    let defaults: BTreeMap<_, _> =
        file::values(DEFAULT, |_| Origin::Default).unwrap().into_iter().map(|(path, value, _)| (path, value)).collect();
    let cell = |text: &str| text.replace('|', "\\|");
    let mut document = "# Configuration\n\nEvery key, its default, what is allowed, and the variable that overrides it; where a value comes \
                        from, the stronger first, says the\nhead of [configs/config.yaml](../configs/config.yaml), of which this is \
                        made. A variable of a secret may have `_FILE` behind\nit and then names a file.\n\n\
                        | key | default | allowed | variable | meaning |\n|---|---|---|---|---|\n"
        .to_owned();
    for (path, rule) in schema::values() {
        let default = match &defaults[&path] {
            Value::String(text) if text.is_empty() => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let (variable, secret) = (environment::variable(&path), if rule.is_secret() { " (secret)" } else { "" });
        let (default, allowed, meaning) = (cell(&default), cell(&rule.allowed()), cell(&meaning[&path]));
        document += &format!("| `{path}` | {default} | {allowed}{secret} | `{variable}` | {meaning} |\n");
    }
    document
}

#[test]
fn the_reference_is_the_default_files() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == reference(),
        "docs/configuration.md is not of this configuration: UPDATE_DOCS=1 cargo test --lib the_reference"
    );
}
