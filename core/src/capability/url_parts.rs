//! URLs that every parser reads alike: their parts and normal form. SPEC 4.6.
//!
//! Such a URL has a lower-case scheme and host, no user info, no `%` or `\` before the query, no
//! fragment, no dot segments, also none before a `;` (`/..;/`), and no host that is a disguised
//! address. The query is left out.

use super::path::{plain_path, slashed};

/// The parts of a URL that are compared.
pub(crate) struct Parts<'a> {
    pub(crate) scheme: &'a str,
    host: &'a str,
    port: u16,
    path: &'a str,
}

impl Parts<'_> {
    /// Returns the URL as people write it: without a port that the scheme implies, and without a
    /// last slash.
    pub(crate) fn written(&self) -> String {
        let port = match default_port(self.scheme) {
            Some(port) if port == self.port => String::new(),
            _ => format!(":{}", self.port),
        };
        let path = if self.path == "/" { "" } else { self.path };
        format!("{}://{}{port}{path}", self.scheme, self.host)
    }

    /// Returns what follows the scheme: host, port and path, with a slash at the end.
    pub(crate) fn normal_rest(&self) -> String {
        format!("{}:{}{}", self.host, self.port, slashed(self.path))
    }
}

/// Returns the port that a scheme implies; `None` for other schemes.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Returns the normal form of a URL: `https://host:443/path/`; `None` for a URL that two parsers
/// may read differently.
pub(crate) fn normal(url: &str) -> Option<String> {
    let parts = split(url)?;
    Some(format!("{}://{}", parts.scheme, parts.normal_rest()))
}

/// Returns the parts of a URL; `None` for a URL that two parsers may read differently.
pub(crate) fn split(url: &str) -> Option<Parts<'_>> {
    if !url.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"')) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, plain_port(port)?),
        None => (authority, default_port(scheme)?),
    };
    let path = match path {
        "" | "/" => "/",
        longer => plain_path(longer.strip_suffix('/').unwrap_or(longer))?,
    };
    (scheme_ok && plain_host(host)).then_some(Parts { scheme, host, port, path })
}

fn plain_port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port > 0 && port.to_string() == text).then_some(port)
}

/// Returns whether a host is a DNS name in lower case, or an IPv4 address in its only dotted form.
/// A browser takes a host that ends in a number for an address, so it must be exactly that address.
fn plain_host(host: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(ok) && !l.starts_with('-') && !l.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return false;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    let address = || host.parse::<core::net::Ipv4Addr>().is_ok_and(|ip| ip.to_string() == host);
    !numeric || address()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disguised_address_is_no_host() {
        let bad =
            ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "0x7f000001", "127.0.0.01", "[::1]"];
        for host in bad {
            assert_eq!(normal(&format!("http://{host}/")), None, "{host}");
        }
        assert_eq!(normal("http://127.0.0.1").as_deref(), Some("http://127.0.0.1:80/"));
    }
}
