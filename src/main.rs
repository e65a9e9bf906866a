//! The `order-worker` binary: picks a role.

fn main() {}
