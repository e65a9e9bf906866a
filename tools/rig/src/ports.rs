//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

// Below Linux' range for outgoing connections (32768 and up): a server that is restarted finds its port still free,
// because no connection of another process can have been given it meanwhile.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 110;
const BLOCK: u16 = 200;

/// What this process has of the range. A block is its own for as long as it listens on the block's first port: of test programs that
/// run side by side none gives out what another one has given to a server that is just being restarted.
struct Ports {
    claims: Vec<TcpListener>,
    free: Vec<u16>,
}

static PORTS: Mutex<Ports> = Mutex::new(Ports { claims: Vec::new(), free: Vec::new() });

/// A port on 127.0.0.1 on which nothing listens; never the same one twice in one process, nor one of another process that asks here.
pub fn free() -> u16 {
    let mut ports = PORTS.lock().unwrap();
    for _ in 0..10_000 {
        match ports.free.pop() {
            Some(port) if listen(port).is_some() => return port,
            Some(_) => {}
            None => ports.claim(),
        }
    }
    panic!("no free port on 127.0.0.1 from {FIRST} to {}", FIRST + BLOCKS * BLOCK);
}

impl Ports {
    fn claim(&mut self) {
        let first = FIRST + fastrand::u16(0..BLOCKS) * BLOCK;
        if let Some(claim) = listen(first) {
            self.claims.push(claim);
            self.free.extend(first + 1..first + BLOCK);
        }
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_are_free_and_differ() {
        let ports: std::collections::HashSet<u16> = (0..500).map(|_| super::free()).collect();
        assert_eq!(ports.len(), 500);
        for port in ports {
            std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }
}
