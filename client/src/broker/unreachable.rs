//! Messages about a broker that cannot be reached: the likely cause and what to do.
//!
//! Owns: the texts. Does not own: the error itself (`error`).

use crate::broker::tls::Tls;
use crate::error::{Error, NO_HTTP2, root_cause};

/// Returns the same error with the address and the likely cause.
pub(crate) fn at(error: Error, endpoint: &str, tls: &Tls) -> Error {
    let message = format!("no broker at {endpoint}: {}", explained(endpoint, tls, error.message()));
    error.with_message(message)
}

/// Returns the error for a broker that cannot be reached.
pub(crate) fn unreachable(endpoint: &str, tls: &Tls, error: &dyn std::error::Error) -> Error {
    let cause = explained(endpoint, tls, &root_cause(error));
    Error::unreachable(format!("no broker at {endpoint}: {cause}"))
}

/// The cause of a server certificate that no trusted authority signed.
const NOT_VOUCHED: &str = "no trusted authority signed its certificate (--ca)";

/// The likely causes of terse errors, and what to do: scheme, text of rustls or h2, explanation.
const EXPLAINED: [(&str, &str, &str); 8] = [
    ("http://", NO_HTTP2, "it does not speak plain HTTP/2 there; is it https://?"),
    ("https://", "InvalidContentType", "it does not speak TLS there; is it http://?"),
    (
        "https://",
        "CertificateRequired",
        "it requires a client certificate, and none was given (--client-certificate, --client-key)",
    ),
    ("https://", "fatal alert", "it refuses the client certificate"),
    ("https://", "UnknownIssuer", NOT_VOUCHED),
    ("https://", "BadSignature", NOT_VOUCHED),
    ("https://", "not valid for name", "its certificate is for another name than the address"),
    ("https://", "NotValidForName", "its certificate is for another name than the address"),
];

/// Texts of errors that say that the peer closed the connection. The peer's reason is sent just
/// before and may be lost.
const HUNG_UP: [&str; 5] =
    ["connection closed", "roken pipe", "eset by peer", "unexpected end of file", "close_notify"];

/// Returns a cause with its likely explanation.
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
            "requires a client certificate, and none was given (--client-certificate, --client-key)"
        }
        (true, Some(("https", _)), Some(_)) => "refuses the client certificate",
        (true, Some(("http", _)), _) => "speaks TLS there (https://)",
        _ => return cause.to_owned(),
    };
    format!("{cause}: it closed the connection, as a broker does that {why}")
}
