//! Certificates of clients (X.509-SVID): each way in which one is not a workload's, and its code.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use sublet_broker::config::{Config, IssuerConfig};
use sublet_broker::transport::tls::Tls;
use sublet_core::base::id::UnixMillis;

/// 2026-11-26.
const NOW: UnixMillis = UnixMillis(1_795_651_200_000);
const WEB: &str = "spiffe://prod.example/ns/shop/sa/web";

/// An authority, and what signed it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    fn new(name: &str) -> Self {
        let (params, key) = Authority::params(name);
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// One below this one.
    fn below(&self, name: &str) -> Self {
        let (params, key) = Authority::params(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = uris(&[WEB]);
        (params, KeyPair::generate().unwrap())
    }

    fn svid(&self, names: Vec<SanType>) -> Certificate {
        self.changed(names, |_| {})
    }

    fn changed(
        &self,
        names: Vec<SanType>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = leaf(names);
        change(&mut params);
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap()
    }
}

fn leaf(names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn uris(names: &[&str]) -> Vec<SanType> {
    names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect()
}

/// A broker that knows the authorities of two trust domains.
fn tls(home: &Path, prod: &Authority, staging: &Authority) -> Arc<Tls> {
    let (server, key) = (leaf(Vec::new()), KeyPair::generate().unwrap());
    let server = server.signed_by(&key, &Authority::new("server").issuer).unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(home.join(name), text).unwrap();
        home.join(name)
    };
    let mut config = Config::dev("data".into(), "127.0.0.1:0".parse().unwrap()).unwrap();
    config.tls.certificate = Some(write("server.pem", server.pem()));
    config.tls.key = Some(write("server-key.pem", key.serialize_pem()));
    let issuer = |name: &str, authority: &Authority| IssuerConfig {
        name: format!("spiffe://{name}.example"),
        audience: None,
        jwks_file: None,
        jwks_url: None,
        x509_bundle: Some(write(name, authority.certificate.pem())),
        trust_bundle: None,
        algorithms: Vec::new(),
    };
    config.issuer = vec![issuer("prod", prod), issuer("staging", staging)];
    Tls::open(&config).unwrap().unwrap()
}

#[test]
fn each_certificate_that_is_not_a_workloads_is_refused_with_its_code() {
    let home = tempfile::tempdir().unwrap();
    let (prod, staging) = (Authority::new("prod"), Authority::new("staging"));
    let tls = tls(home.path(), &prod, &staging);
    let detail = |chain: &[&Certificate]| {
        let chain: Vec<_> = chain.iter().map(|one| one.der().clone()).collect();
        match tls.verify(&chain, NOW) {
            Ok(certificate) => certificate.id.to_string(),
            Err(bad) => bad.code().to_owned(),
        }
    };
    let (web, between) = (|| uris(&[WEB]), prod.below("between"));
    assert_eq!(detail(&[&prod.svid(web())]), WEB);
    assert_eq!(detail(&[&between.svid(web()), &between.certificate]), WEB);

    let until = |end| prod.changed(web(), move |params| params.not_after = end);
    let from = |begin| prod.changed(web(), move |params| params.not_before = begin);
    let own = leaf(web()).self_signed(&KeyPair::generate().unwrap()).unwrap();
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let dns = vec![SanType::DnsName("web.shop.example".try_into().unwrap())];
    let table: [(&str, &[&Certificate], &str); 16] = [
        ("over", &[&until(date_time_ymd(2026, 11, 25))], "certificate_expired"),
        ("not valid yet", &[&from(date_time_ymd(2026, 11, 27))], "certificate_expired"),
        ("its own authority", &[&own], "certificate_authority"),
        ("of a stranger", &[&Authority::new("x").svid(web())], "certificate_authority"),
        (
            "of a stranger that has the authority's name",
            &[&Authority::new("prod").svid(web())],
            "certificate_authority",
        ),
        ("of another domain's authority", &[&staging.svid(web())], "certificate_authority"),
        ("without the one between", &[&between.svid(web())], "certificate_authority"),
        (
            "with another between",
            &[&between.svid(web()), &prod.below("between").certificate],
            "certificate_authority",
        ),
        (
            "of a domain that is not known",
            &[&prod.svid(uris(&["spiffe://stranger.example/web"]))],
            "certificate_domain",
        ),
        ("no name", &[&prod.svid(Vec::new())], "certificate_without_spiffe_id"),
        ("a host", &[&prod.svid(dns)], "certificate_without_spiffe_id"),
        (
            "a URL",
            &[&prod.svid(uris(&["https://prod.example/web"]))],
            "certificate_without_spiffe_id",
        ),
        (
            "two workloads",
            &[&prod.svid(uris(&[WEB, "spiffe://prod.example/db"]))],
            "certificate_without_spiffe_id",
        ),
        ("the same twice", &[&prod.svid(uris(&[WEB, WEB]))], "certificate_without_spiffe_id"),
        ("of a server", &[&prod.changed(web(), server)], "client_certificate"),
        ("an authority itself", &[&between.certificate], "client_certificate"),
    ];
    for (what, chain, code) in table {
        assert_eq!(detail(chain), code, "{what}");
    }
    assert_eq!(detail(&[]), "certificate_without_spiffe_id");
}
