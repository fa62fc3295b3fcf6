//! The account that a bound counts for.
//!
//! Owns: [`Account`], [`Network`], and how an address is shown. Does not own: who a caller is
//! (`authenticate`), any bound.
//!
//! Invariants: a caller's account is made from a [`Caller`], which exists only after a valid proof. A
//! claimed name makes no account.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use sublet_core::decide::caller::{self, Caller};

/// The account that connections, requests and bytes count for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Account {
    /// A known caller: an enrolled agent with its helpers, or the admin.
    Caller(caller::Account),
    /// A reader that has the ledger's bearer token.
    Ledger,
    /// An unknown caller: the network that it comes from.
    Network(Network),
}

impl Account {
    /// Returns the account of a caller with a valid proof; `None` if it is neither an agent nor the admin.
    pub(crate) fn of(caller: &Caller) -> Option<Self> {
        caller.account().map(Account::Caller)
    }
}

/// A network that counts as one: an IPv4 address, or the /64 of an IPv6 address, because one customer
/// has all addresses of a /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network(IpAddr);

impl Network {
    /// Returns the network of an address. An IPv4 address inside IPv6 counts as the IPv4 address.
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

/// The address of a peer, for the log.
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
