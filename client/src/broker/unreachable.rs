//! A broker that cannot be reached, with what that most often comes from and what to do.
//!
//! Owns: the words. Does not own: the error itself (`error`).

use crate::broker::tls::Tls;
use crate::error::{Error, NO_HTTP2, root_cause};

/// The same error, with where it happened.
pub(crate) fn at(error: Error, endpoint: &str, tls: &Tls) -> Error {
    let message = format!("no broker at {endpoint}: {}", explained(endpoint, tls, error.message()));
    error.with_message(message)
}

/// The broker cannot be reached.
pub(crate) fn unreachable(endpoint: &str, tls: &Tls, error: &dyn std::error::Error) -> Error {
    let cause = explained(endpoint, tls, &root_cause(error));
    Error::unreachable(format!("no broker at {endpoint}: {cause}"))
}

/// Of a server's certificate that no authority signed which is believed.
const NOT_VOUCHED: &str = "no authority that is believed here vouches for its certificate (--ca)";

/// What causes that say little come from, most often, and what to do. In the words of rustls and h2.
const EXPLAINED: [(&str, &str, &str); 8] = [
    ("http://", NO_HTTP2, "it does not speak plain HTTP/2 there; is it https://?"),
    ("https://", "InvalidContentType", "it does not speak TLS there; is it http://?"),
    (
        "https://",
        "CertificateRequired",
        "it demands a client certificate, and none is shown (--client-certificate, --client-key)",
    ),
    ("https://", "fatal alert", "it does not take the client certificate that is shown"),
    ("https://", "UnknownIssuer", NOT_VOUCHED),
    ("https://", "BadSignature", NOT_VOUCHED),
    ("https://", "not valid for name", "its certificate is of another name than the address"),
    ("https://", "NotValidForName", "its certificate is of another name than the address"),
];

/// That the peer hung up. Whoever closes for a reason says it just before, and that may be lost on the way.
const HUNG_UP: [&str; 5] =
    ["connection closed", "roken pipe", "eset by peer", "unexpected end of file", "close_notify"];

/// A cause with what it most often comes from.
fn explained(endpoint: &str, tls: &Tls, cause: &str) -> String {
    let known = EXPLAINED
        .iter()
        .find(|(scheme, detail, _)| endpoint.starts_with(scheme) && cause.contains(detail));
    if let Some((_, _, why)) = known {
        return format!("{cause}: {why}");
    }
    let closed = HUNG_UP.iter().any(|detail| cause.contains(detail));
    let why = match (closed, endpoint.split_once("://"), &tls.certificate) {
        (true, Some(("https", _)), None) => {
            "demands a client certificate, and none is shown (--client-certificate, --client-key)"
        }
        (true, Some(("https", _)), Some(_)) => "does not take the client certificate that is shown",
        (true, Some(("http", _)), _) => "speaks TLS there (https://)",
        _ => return cause.to_owned(),
    };
    format!("{cause}: it closed the connection, as a broker does that {why}")
}
