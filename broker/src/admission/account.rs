//! Whom a bound counts against.
//!
//! Owns: [`Account`], [`Network`], and how an address is shown. Does not own: who a caller is (`authenticate`), any bound.
//!
//! Invariants: an account of a caller is made from a [`Caller`], which exists only when its proof held; a
//! claimed name makes none.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use sublet_core::decide::caller::{self, Caller};

/// Whom connections, requests and bytes count against.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Account {
    /// One that is known: an enrolled agent with its helpers, or the admin.
    Caller(caller::Account),
    /// Whoever has the bearer token of the ledger.
    Ledger,
    /// Nobody who is known: where it comes from.
    Network(Network),
}

impl Account {
    /// The account of a caller whose proof held; `None` for one that is no agent and not the admin.
    pub(crate) fn of(caller: &Caller) -> Option<Self> {
        caller.account().map(Account::Caller)
    }
}

/// Where a connection comes from, as one share: an IPv4 address, or the /64 of an IPv6 address, of which
/// one customer has all 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network(IpAddr);

impl Network {
    /// The network of an address. An IPv4 address inside IPv6 is the IPv4 address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Network(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let prefix = address.to_bits() >> 64 << 64;
                Network(IpAddr::V6(Ipv6Addr::from_bits(prefix)))
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(prefix) => write!(f, "{prefix}/64"),
        }
    }
}

/// Where a peer is, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) Option<IpAddr>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("local"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_network_and_a_mapped_address_is_the_ipv4_one() {
        let network = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::/64");
    }
}
