//! IP addresses as bits. SPEC 4.6.
//!
//! An address is compared by its bits. A text that could be two addresses has no bits: octal or
//! short forms, zones, and IPv6 that carries an IPv4 address.

use core::net::{IpAddr, Ipv6Addr};

/// Returns `4` or `6`, and the bits of the address.
pub(crate) fn bits_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => format!("4{:032b}", u32::from(ip)),
        IpAddr::V6(ip) => format!("6{:0128b}", u128::from(ip)),
    }
}

/// Returns the bits of an address; `None` for a text that is no address or could be two.
pub(crate) fn bits(text: &str) -> Option<String> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(ip) if carries_ipv4(ip) => None,
        address => Some(bits_of(address)),
    }
}

/// Returns whether an IPv6 address carries an IPv4 address: IPv4-mapped and -compatible (RFC 4291
/// 2.5.5), NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380). The unspecified and loopback
/// addresses do not.
fn carries_ipv4(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => false,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => true,
        [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..] => true,
        _ => false,
    }
}
