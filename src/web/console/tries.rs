//! Failed logins by address: whoever guesses passwords has to wait, and nobody else does.
//!
//! Not the crate `governor`: a right password gives its try back here, and at most 1,024 addresses are remembered. A limiter of governor
//! can give nothing back, and its map of keys grows with every new address of a guesser.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tries of one address in a window.
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Remembered addresses; the one that was quiet for longest is forgotten first.
const ADDRESSES: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Tried {
    since: Instant,
    last: Instant,
    times: u32,
}

/// The tries of every address.
#[derive(Debug, Default)]
pub struct Tries(Mutex<HashMap<IpAddr, Tried>>);

impl Tries {
    fn tried(&self) -> MutexGuard<'_, HashMap<IpAddr, Tried>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a try before its password is looked at, so that many at once are no way around; false: it is one too many.
    pub fn begin(&self, from: IpAddr, now: Instant) -> bool {
        let from = network(from);
        let mut tried = self.tried();
        if !tried.contains_key(&from) && tried.len() >= ADDRESSES {
            let quiet = tried.iter().min_by_key(|(_, one)| one.last).map(|(address, _)| *address);
            quiet.and_then(|address| tried.remove(&address));
        }
        let one = tried.entry(from).or_insert(Tried { since: now, last: now, times: 0 });
        if now.duration_since(one.since) > WINDOW {
            *one = Tried { since: now, last: now, times: 0 };
        }
        if one.times >= MOST {
            return false;
        }
        one.times += 1;
        one.last = now;
        true
    }

    /// Gives a try back whose password was right. Failed tries before it still count.
    pub fn was_right(&self, from: IpAddr) {
        if let Some(one) = self.tried().get_mut(&network(from)) {
            one.times = one.times.saturating_sub(1);
        }
    }
}

/// The network of an address, of which one guesser has every address: of IPv6 the /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_guesses_waits_and_nobody_else_does() {
        let (tries, now) = (Tries::default(), Instant::now());
        for _ in 0..MOST {
            assert!(tries.begin(ip("10.0.0.1"), now));
        }
        assert!(!tries.begin(ip("10.0.0.1"), now));
        assert!(!tries.begin(ip("::ffff:10.0.0.1"), now), "the same address on a socket for both families");
        assert!(tries.begin(ip("10.0.0.2"), now));
        assert!(!tries.begin(ip("10.0.0.1"), now + WINDOW));
        assert!(tries.begin(ip("10.0.0.1"), now + WINDOW + Duration::from_millis(1)));
    }

    #[test]
    fn a_right_password_costs_nothing_and_forgives_nothing() {
        let (tries, now) = (Tries::default(), Instant::now());
        for _ in 0..MOST - 1 {
            assert!(tries.begin(ip("10.0.0.1"), now));
        }
        for _ in 0..5 {
            assert!(tries.begin(ip("10.0.0.1"), now));
            tries.was_right(ip("10.0.0.1"));
        }
        assert!(tries.begin(ip("10.0.0.1"), now));
        assert!(!tries.begin(ip("10.0.0.1"), now));
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser_and_memory_is_bounded() {
        let (tries, now) = (Tries::default(), Instant::now());
        for n in 0..MOST {
            assert!(tries.begin(ip(&format!("2001:db8:0:1::{n}")), now));
        }
        assert!(!tries.begin(ip("2001:db8:0:1:ffff::1"), now));
        assert!(tries.begin(ip("2001:db8:0:2::1"), now));
        for n in 0..u32::try_from(ADDRESSES).unwrap() * 2 {
            assert!(tries.begin(IpAddr::V4((0x0a00_0000 + n).into()), now + Duration::from_millis(n.into())));
        }
        assert_eq!(tries.tried().len(), ADDRESSES);
    }
}
