//! Pages by HTTP: the admin listener, the console, the board; and the lists that the command line shows too.

pub mod admin;
pub mod board;
pub mod console;
pub mod listing;
