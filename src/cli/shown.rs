//! How results are shown.

use clap::{Args, ValueEnum};

/// How a result is shown.
#[derive(Debug, Args)]
pub struct Shown {
    /// For eyes or for programs
    #[arg(short = 'o', long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Format,
}

/// The forms of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For eyes
    #[default]
    Table,
    /// For programs
    Json,
}
