//! Free loopback ports.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

// Below Linux' range for outgoing connections (32768 and up): a server that is restarted finds its port still free,
// because no connection of another process can have been given it meanwhile.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port on 127.0.0.1 on which nothing listens; never the same one twice in one process.
pub fn free() -> u16 {
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    for _ in 0..10_000 {
        let port = fastrand::u16(RANGE);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 between {} and {}", RANGE.start, RANGE.end);
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_are_free_and_differ() {
        let ports: std::collections::HashSet<u16> = (0..50).map(|_| super::free()).collect();
        assert_eq!(ports.len(), 50);
        for port in ports {
            std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }
}
