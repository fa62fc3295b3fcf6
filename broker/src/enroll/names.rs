//! The names of the enrollment methods in requests and records. docs/FORMATS, "Enrollment".

/// The method of OpenID tokens and similar signed tokens.
pub const JWT: &str = "jwt";

/// The method of SPIFFE JWT-SVIDs.
pub const JWT_SVID: &str = "jwt_svid";

/// The method of other brokers' identity tokens.
pub const FEDERATED: &str = "federated";

/// The method of SPIFFE X.509-SVIDs.
pub const X509_SVID: &str = "x509_svid";
