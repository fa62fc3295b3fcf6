//! `cidr`: an IP address in a network. `client=cidr:10.0.0.0/8`, `cidr:2001:db8::/32`.
//!
//! An address is compared by its bits. A text that could be two addresses has no bits and is
//! refused: octal or short forms, zones, and IPv6 that carries an IPv4 address.

use core::net::IpAddr;

use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::address::{bits, bits_of};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::{bare_or_quoted, string_from_json, string_from_text};
use crate::capability::tree::{Tree, test};
use crate::capability::words::value;

/// The addresses of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidr {
    written: String,
    /// `4` or `6`, and the bits of the network.
    bits: String,
}

impl Cidr {
    /// Parses `address/length`. The address must be the first of the network.
    pub fn new(written: &str) -> Result<Self, BadScope> {
        let bad = || {
            BadScope(format!(
                "{written:?} is no network: its first address and its length, as in 10.0.0.0/8"
            ))
        };
        let (address, length) = written.split_once('/').ok_or_else(bad)?;
        let (address, length): (IpAddr, usize) =
            (address.parse().map_err(|_| bad())?, length.parse().map_err(|_| bad())?);
        let all = bits_of(address);
        let bits = all.get(..length.saturating_add(1)).ok_or_else(bad)?;
        let host = all.get(length.saturating_add(1)..).unwrap_or_default();
        if host.contains('1') || format!("{address}/{length}") != written {
            return Err(bad());
        }
        Ok(Cidr { written: written.to_owned(), bits: bits.to_owned() })
    }

    fn lifted(bits: &str) -> Option<Self> {
        let (version, network) = bits.split_at_checked(1)?;
        let width = if version == "4" { 32 } else { 128 };
        let padded = format!("{network:0<width$}");
        let number = u128::from_str_radix(&padded, 2).ok()?;
        let address = match version {
            "4" => IpAddr::from(u32::try_from(number).ok()?.to_be_bytes()),
            "6" => IpAddr::from(number.to_be_bytes()),
            _ => return None,
        };
        Cidr::new(&format!("{address}/{}", network.len())).ok()
    }
}

impl Kind for Cidr {
    const NAME: &'static str = "cidr";

    fn admits(&self, value: Option<&Json>) -> bool {
        let Some(Json::Str(text)) = value else { return false };
        bits(text).is_some_and(|bits| bits.starts_with(&self.bits))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Ip)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![test(view, Binary::Prefix, Term::text(self.bits.as_str()))]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(Family::Ip, [Tree::Test(Binary::Prefix, literal)]) => {
                Cidr::lifted(literal.as_text()?)
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.written))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Cidr::new(&string_from_text(value(Self::NAME, text)?)?)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.written.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Cidr::new(&string_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<Cidr>> Compare<M> for Cidr {
    fn covers(&self, child: &M) -> bool {
        child.as_kind::<Cidr>().is_some_and(|child| child.bits.starts_with(&self.bits))
    }

    fn excludes(&self, other: &M) -> bool {
        other.as_kind::<Cidr>().is_some_and(|other| {
            !other.bits.starts_with(&self.bits) && !self.bits.starts_with(&other.bits)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_inside_by_its_bits() {
        let net = Cidr::new("10.1.0.0/16").unwrap();
        let admits = |text: &str| net.admits(Some(&Json::Str(text.into())));
        assert!(admits("10.1.2.3") && !admits("10.2.0.1"));
        for disguised in ["::ffff:10.1.2.3", "010.1.2.3", "10.1.515", "0xa.1.2.3", "10.1.2.3 "] {
            assert!(!admits(disguised), "{disguised}");
        }
        let net = Cidr::new("2001:db8::/32").unwrap();
        assert!(net.admits(Some(&Json::Str("2001:DB8:0:1::5".into()))));
        assert!(!net.admits(Some(&Json::Str("fe80::1%eth0".into()))));
    }

    #[test]
    fn a_network_is_written_in_one_way() {
        for bad in ["10.1.2.3/16", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "2001:DB8::/32", "/8"]
        {
            assert!(Cidr::new(bad).is_err(), "{bad}");
        }
    }
}
