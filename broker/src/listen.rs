//! The broker's sockets: TCP, with or without TLS, and a Unix socket for the admin.
//!
//! Owns: accepting, TLS handshakes beside each other, and what is known of a connection. Does not own:
//! certificates (`tls`), what is served.
//!
//! Invariants: a handshake holds up nobody and ends in time; only the user that the broker runs as, and
//! root, get through the Unix socket.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sublet_core::id::UnixMillis;
use sublet_core::no::Unauthenticated;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::certificate::{Certificate, Shown};
use crate::tls::Tls;

/// How long a TLS handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Handshakes at once; beyond it new connections wait in the listener's queue.
const HANDSHAKES_MAX: usize = 512;

/// After an error of accepting, such as no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// How a request came in.
#[derive(Clone, Debug, Default)]
pub struct Via {
    /// Whether through the Unix socket.
    pub local: bool,
    /// The certificate that the connection showed.
    shown: Option<Arc<Shown>>,
}

impl Via {
    /// The address that it came from, where that says who it is.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        None
    }

    /// The certificate that the connection showed, if it showed one. One that does not hold is refused.
    pub fn certificate(&self, now: UnixMillis) -> Result<Option<&Certificate>, Unauthenticated> {
        let shown = self.shown.as_ref().map(|shown| shown.certificate(now));
        Ok(shown.transpose()?)
    }
}

/// Something bytes flow through.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One connection, ready to be served.
pub(crate) struct Connection {
    io: Box<dyn Io>,
    via: Via,
}

impl Connected for Connection {
    type ConnectInfo = Via;

    fn connect_info(&self) -> Via {
        self.via.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

type Ready = mpsc::Sender<io::Result<Connection>>;

/// The sockets of a broker.
pub(crate) struct Sockets {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) admin: Option<UnixListener>,
}

impl Sockets {
    /// Connections as they become ready, until nobody takes them any more.
    pub(crate) fn incoming(self) -> ReceiverStream<io::Result<Connection>> {
        let (ready, connections) = mpsc::channel(64);
        if let Some(admin) = self.admin {
            tokio::spawn(accept_local(admin, ready.clone()));
        }
        tokio::spawn(accept_tcp(self.tcp, self.tls, ready));
        ReceiverStream::new(connections)
    }
}

async fn accept_tcp(listener: TcpListener, tls: Option<Arc<Tls>>, ready: Ready) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Some((stream, _)) = told(accepted).await else { continue };
        // Nagle's algorithm and delayed acknowledgements make 40 ms of every small answer.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &tls else {
            let connection = Connection { io: Box::new(stream), via: Via::default() };
            if ready.send(Ok(connection)).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(place) = handshakes.clone().acquire_owned().await else { return };
        let (acceptor, ready, tls) = (TlsAcceptor::from(tls.server()), ready.clone(), tls.clone());
        tokio::spawn(async move {
            let shaken = handshake(&acceptor, stream, &tls);
            let shaken = tokio::time::timeout(HANDSHAKE_DEADLINE, shaken);
            match shaken.await {
                Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
            drop(place);
        });
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    tls: &Arc<Tls>,
) -> io::Result<Connection> {
    let stream = acceptor.accept(stream).await?;
    let shown = Shown::of(stream.get_ref().1.peer_certificates(), tls).map(Arc::new);
    Ok(Connection { io: Box::new(stream), via: Via { local: false, shown } })
}

async fn accept_local(listener: UnixListener, ready: Ready) {
    let own = listener.local_addr().ok();
    let own = own.and_then(|address| address.as_pathname().map(std::fs::metadata));
    let own = own.and_then(Result::ok).map(|metadata| metadata.uid());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Some((stream, _)) = told(accepted).await else { continue };
        let who = stream.peer_cred().map(|who| who.uid());
        if !who.as_ref().is_ok_and(|uid| *uid == 0 || Some(*uid) == own) {
            tracing::warn!(?who, "another user at the admin's socket");
            continue;
        }
        let via = Via { local: true, shown: None };
        if ready.send(Ok(Connection { io: Box::new(stream), via })).await.is_err() {
            return;
        }
    }
}

async fn told<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "a connection was not accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

/// The admin's socket, for its owner alone. One that a killed broker left is taken away; one that
/// somebody serves is not.
pub(crate) fn admin_socket(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody serves it")),
            Err(_) => std::fs::remove_file(path)?,
        }
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
