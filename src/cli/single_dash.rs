//! Long flags with one dash (`-conf FILE`), as the first version of the worker took them.
//!
//! clap would read `-conf` as the short flags c, o, n and f. Only a word that is exactly a long
//! flag of the program gets its second dash, so short flags (`-o`, `-h`) stay what they are.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// `args` with a second dash before each known long flag that has one; what stands behind `--` is
/// left alone. The first of `args` is the program's name.
pub(super) fn normalised(args: impl IntoIterator<Item = OsString>, command: &clap::Command) -> Vec<OsString> {
    let mut flags = BTreeSet::new();
    collect(command, &mut flags);
    let mut only_values = false;
    args.into_iter()
        .enumerate()
        .map(|(index, arg)| {
            only_values |= arg == "--";
            if index == 0 || only_values { arg } else { with_second_dash(arg, &flags) }
        })
        .collect()
}

fn with_second_dash(arg: OsString, flags: &BTreeSet<String>) -> OsString {
    let Some(word) = arg.to_str().and_then(|text| text.strip_prefix('-')) else {
        return arg;
    };
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    if flags.contains(name) { OsString::from(format!("--{word}")) } else { arg }
}

/// Every long flag of `command` and of the commands below it.
fn collect(command: &clap::Command, flags: &mut BTreeSet<String>) {
    flags.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned));
    command.get_subcommands().for_each(|below| collect(below, flags));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Arguments;
    use clap::CommandFactory;

    #[test]
    fn only_known_long_flags_get_a_second_dash() {
        let mut command = Arguments::command();
        command.build();
        let cases = [
            ("-conf", "--conf"),
            ("-mode=all", "--mode=all"),
            ("-version", "--version"),
            ("-help", "--help"),
            ("-dry-run", "--dry-run"),
            ("-output=json", "--output=json"),
            ("--conf", "--conf"),
            ("-h", "-h"),
            ("-V", "-V"),
            ("-o", "-o"),
            ("-ojson", "-ojson"),
            ("-confx", "-confx"),
            ("conf", "conf"),
            ("-", "-"),
            ("-=", "-="),
        ];
        for (given, expected) in cases {
            let args = ["order-worker", given].map(OsString::from);
            assert_eq!(normalised(args, &command)[1], expected, "{given}");
        }
        let behind = ["-conf", "--", "-conf"].map(OsString::from);
        assert_eq!(normalised(behind, &command), ["-conf", "--", "-conf"]);
    }
}
