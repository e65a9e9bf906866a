//! `order-worker config check` and `config print`.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::args::ConfigCommand;
use super::exit::Stop;
use super::output::{self, Format, Output};
use crate::app::config::{self, Config, Origin, Origins};

pub(super) fn run(
    command: &ConfigCommand,
    conf: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<(), Stop> {
    match command {
        ConfigCommand::Check(output) => check(output, &Config::load(conf, env)?.origins),
        ConfigCommand::Print(print) if print.default => output::write(|out| out.write_all(config::DEFAULT.as_bytes())),
        ConfigCommand::Print(print) => show(&print.output, &Config::read(conf, env)?.origins),
    }
}

fn check(output: &Output, origins: &Origins) -> Result<(), Stop> {
    let count = |is: fn(&Origin) -> bool| origins.iter().filter(|one| is(&one.origin)).count();
    let default = count(|origin| matches!(origin, Origin::Default));
    let file = count(|origin| matches!(origin, Origin::File { .. }));
    let environment = count(|origin| matches!(origin, Origin::Environment(_)));
    match output.format {
        Format::Json => output::json(&json!({
            "fit": true, "default": default, "file": file, "environment": environment,
        })),
        Format::Table => output::write(|out| {
            writeln!(
                out,
                "The configuration is fit to run: {default} values by default, {file} from the \
                 file, {environment} from the environment."
            )
        }),
    }
}

fn show(output: &Output, origins: &Origins) -> Result<(), Stop> {
    match output.format {
        Format::Json => {
            let settings: Vec<Value> = origins
                .iter()
                .map(|one| {
                    json!({
                        "key": one.key,
                        "value": one.value,
                        "from": one.origin.to_string(),
                        "variable": one.variable,
                    })
                })
                .collect();
            output::json(&settings)
        }
        Format::Table => output::table(
            ["key", "value", "from"],
            origins.iter().map(|one| {
                let value = match &one.value {
                    Value::String(text) if text.is_empty() => "\"\"".to_owned(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                [one.key.clone(), value, one.origin.to_string()]
            }),
        ),
    }
}
