//! The layer in front of a guarded service: it buffers a unary request, hashes the message as it
//! arrived, and passes the digest on. docs/FORMATS, "On the wire".
//!
//! A call proof covers the bytes of the message inside gRPC's 5-byte frame. They are hashed before
//! anything decodes them, so the checked message is the one that was sent.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{BodyExt as _, Full, Limited};
use sublet_core::base::bytes::sha256;
use sublet_core::base::limits;
use tonic::body::Body;
use tonic::codegen::Service;

/// The SHA-256 over the message bytes of a request, in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageDigest(pub [u8; 32]);

/// Adds a [`MessageDigest`] to every unary request whose path begins with one of the prefixes.
#[derive(Clone, Debug)]
pub struct DigestLayer {
    prefixes: &'static [&'static str],
}

impl DigestLayer {
    /// Returns the layer for the services under these path prefixes, such as `/sublet.v1.`.
    pub fn new(prefixes: &'static [&'static str]) -> Self {
        DigestLayer { prefixes }
    }
}

impl<S> tower::Layer<S> for DigestLayer {
    type Service = DigestService<S>;

    fn layer(&self, inner: S) -> DigestService<S> {
        DigestService { inner, prefixes: self.prefixes }
    }
}

/// The service that [`DigestLayer`] makes.
#[derive(Clone, Debug)]
pub struct DigestService<S> {
    inner: S,
    prefixes: &'static [&'static str],
}

impl<S> Service<http::Request<Body>> for DigestService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let guarded = self.prefixes.iter().any(|prefix| request.uri().path().starts_with(prefix));
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            if !guarded {
                return inner.call(request).await;
            }
            match buffer(request).await {
                Ok(request) => inner.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

async fn buffer(request: http::Request<Body>) -> Result<http::Request<Body>, tonic::Status> {
    let (mut parts, body) = request.into_parts();
    let collected = Limited::new(body, limits::CALL_BYTES_MAX + 5).collect().await;
    let Ok(collected) = collected else {
        let detail = format!(
            "the message is larger than {} bytes, or did not arrive whole",
            limits::CALL_BYTES_MAX
        );
        return Err(tonic::Status::resource_exhausted(detail));
    };
    let bytes = collected.to_bytes();
    // The frame: one byte of flags (0: not compressed), a length of four bytes, the message.
    match bytes.split_first_chunk::<5>() {
        Some(([0, a, b, c, d], message))
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() =>
        {
            parts.extensions.insert(MessageDigest(sha256(message)));
        }
        _ => return Err(tonic::Status::invalid_argument("one uncompressed message is needed")),
    }
    Ok(http::Request::from_parts(parts, Body::new(Full::new(bytes))))
}
