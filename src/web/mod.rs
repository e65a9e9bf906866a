//! What is served by HTTP: the admin listener, the console, the board.

pub mod admin;
pub mod board;
pub mod console;
