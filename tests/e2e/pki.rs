//! Certificate authorities for the tests of TLS and SPIFFE.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// An authority, and its certificate as PEM.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, as PEM.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, names: Vec<SanType>, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate of a server on loopback.
    pub(crate) fn server(&self) -> Leaf {
        self.sign(vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))], |_| {})
    }

    /// An X.509-SVID of these SPIFFE ids; a good one has one.
    pub(crate) fn svid(&self, ids: &[&str]) -> Leaf {
        self.sign(uris(ids), |_| {})
    }

    /// One that is over.
    pub(crate) fn old_svid(&self, id: &str) -> Leaf {
        self.sign(uris(&[id]), |params| params.not_after = date_time_ymd(2020, 1, 1))
    }
}

fn uris(ids: &[&str]) -> Vec<SanType> {
    ids.iter().map(|id| SanType::URI((*id).try_into().unwrap())).collect()
}
