//! The names of the methods of enrollment, as requests and records have them. docs/FORMATS, "Enrollment".

/// The method of OpenID tokens and all that look like them.
pub const JWT: &str = "jwt";

/// The method of SPIFFE JWT-SVIDs.
pub const JWT_SVID: &str = "jwt_svid";

/// The method of other brokers' identities.
pub const FEDERATED: &str = "federated";

/// The method of SPIFFE X.509-SVIDs.
pub const X509_SVID: &str = "x509_svid";
