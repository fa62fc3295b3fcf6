//! The broker's sockets: TCP, with or without TLS, and a Unix socket for the admin.
//!
//! Owns: accepting, TLS handshakes in parallel, and the facts of a connection. Does not own:
//! certificates (`tls`), how many connections there may be (`admission`), what is served.
//!
//! Invariants: a handshake delays no other connection and has a deadline. A connection in its handshake
//! is under the same bounds as others. Only the user that the broker runs as, and root, can use the Unix
//! socket.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::decide::caller::Caller;
use sublet_core::refusal::Unauthenticated;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::admission::{
    Account, Address, Admission, Bound, Connections, HANDSHAKE_DEADLINE, Head, Link, Network,
    Watched,
};
use crate::transport::certificate::Certificate;
use crate::transport::shown::Shown;
use crate::transport::tls::Tls;

/// The pause after an error of accepting, for example when no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// How a request came in.
#[derive(Clone, Debug, Default)]
pub struct Via {
    /// Whether it came through the Unix socket.
    pub local: bool,
    /// The certificate that the connection showed; `None` if it showed none.
    shown: Option<Arc<Shown>>,
    /// The shared facts of the connection; `None` if the request has none.
    link: Option<Arc<Link>>,
}

impl Via {
    /// Returns the certificate of the connection; `None` if it showed none. An error if it is not valid.
    pub fn certificate(&self, now: UnixMillis) -> Result<Option<&Certificate>, Unauthenticated> {
        let shown = self.shown.as_ref().map(|shown| shown.certificate(now));
        Ok(shown.transpose()?)
    }

    /// Returns the connection, on which bounds are counted.
    pub(crate) fn link(&self) -> Option<&Arc<Link>> {
        self.link.as_ref()
    }

    /// Returns the network that requests without a proof count for; `None` behind a proxy or on a Unix
    /// socket.
    pub(crate) fn network(&self) -> Option<Network> {
        self.link.as_ref().and_then(|link| link.peer().network)
    }

    /// Returns the address, for the log.
    pub(crate) fn peer(&self) -> Address {
        Address(self.link.as_ref().and_then(|link| link.peer().address))
    }

    /// Notes a valid proof of this caller. The connection counts for the caller from now on.
    pub(crate) fn proven(&self, caller: &Caller) {
        if let (Some(link), Some(account)) = (&self.link, Account::of(caller)) {
            link.proven(account);
        }
    }

    /// Notes a failed proof on the connection.
    pub(crate) fn failed(&self) {
        if let Some(link) = &self.link {
            link.failed();
        }
    }

    /// Notes that the connection showed the ledger's bearer token.
    pub(crate) fn reads_the_ledger(&self) {
        if let Some(link) = &self.link {
            link.proven(Account::Ledger);
        }
    }
}

/// A stream of bytes in both directions.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One connection, ready to be served.
pub(crate) struct Connection {
    io: Box<dyn Io>,
    via: Via,
    link: Arc<Link>,
    head: Head,
}

impl Connection {
    fn new(io: impl Io + 'static, link: Arc<Link>, local: bool, shown: Option<Arc<Shown>>) -> Self {
        let via = Via { local, shown, link: Some(link.clone()) };
        Connection { io: Box::new(io), via, link, head: Head::default() }
    }
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
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let is_busy = self.link.is_busy();
        let read = buffer.filled().get(before..).unwrap_or_default();
        match self.head.take(read, is_busy) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(io::Error::other("a head that is too large"))),
        }
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
    /// Returns connections as they become ready, until the receiver is dropped.
    pub(crate) fn incoming(self, admission: &Admission) -> ReceiverStream<io::Result<Connection>> {
        let (ready, connections) = mpsc::channel(64);
        if let Some(admin) = self.admin {
            tokio::spawn(accept_local(admin, admission.local.clone(), ready.clone()));
        }
        tokio::spawn(accept_tcp(self.tcp, self.tls, admission.tcp.clone(), ready));
        ReceiverStream::new(connections)
    }
}

async fn accept_tcp(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
    ready: Ready,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Some((stream, address)) = told(accepted, &connections).await else { continue };
        // Without a place the connection is closed.
        let Some(place) = connections.admit(Some(address.ip())).await else { continue };
        // Nagle's algorithm and delayed acknowledgements would delay every small answer by 40 ms.
        let _ = stream.set_nodelay(true);
        let stream = Watched::new(stream, place);
        let Some(tls) = &tls else {
            let link = stream.link().clone();
            if ready.send(Ok(Connection::new(stream, link, false, None))).await.is_err() {
                return;
            }
            continue;
        };
        let (acceptor, ready, tls) = (TlsAcceptor::from(tls.server()), ready.clone(), tls.clone());
        tokio::spawn(async move {
            let shaken = handshake(&acceptor, stream, &tls);
            let shaken = tokio::time::timeout(HANDSHAKE_DEADLINE, shaken);
            match shaken.await {
                Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: Watched<TcpStream>,
    tls: &Arc<Tls>,
) -> io::Result<Connection> {
    let link = stream.link().clone();
    let stream = acceptor.accept(stream).await?;
    let shown = Shown::of(stream.get_ref().1.peer_certificates(), tls).map(Arc::new);
    Ok(Connection::new(stream, link, false, shown))
}

async fn accept_local(listener: UnixListener, connections: Arc<Connections>, ready: Ready) {
    let own = listener.local_addr().ok();
    let own = own.and_then(|address| address.as_pathname().map(std::fs::metadata));
    let own = own.and_then(Result::ok).map(|metadata| metadata.uid());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Some((stream, _)) = told(accepted, &connections).await else { continue };
        let who = stream.peer_cred().map(|who| who.uid());
        if !who.as_ref().is_ok_and(|uid| *uid == 0 || Some(*uid) == own) {
            tracing::warn!(?who, "another user at the admin's socket");
            continue;
        }
        let Some(place) = connections.admit(None).await else { continue };
        let stream = Watched::new(stream, place);
        let link = stream.link().clone();
        if ready.send(Ok(Connection::new(stream, link, true, None))).await.is_err() {
            return;
        }
    }
}

/// The metrics listener. Each connection has a place and a deadline of a few seconds.
pub(crate) struct Scrapes {
    listener: TcpListener,
    connections: Arc<Connections>,
}

impl Scrapes {
    pub(crate) fn new(listener: TcpListener, connections: Arc<Connections>) -> Self {
        Scrapes { listener, connections }
    }
}

impl axum::serve::Listener for Scrapes {
    type Io = Watched<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let accepted = self.listener.accept().await;
            let Some((stream, address)) = told(accepted, &self.connections).await else {
                continue;
            };
            if let Some(place) = self.connections.admit(Some(address.ip())).await {
                return (Watched::new(stream, place), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Returns what was accepted; `None` after an error. If no descriptor is left, closes the oldest
/// connection of a stranger.
async fn told<T>(accepted: io::Result<T>, connections: &Connections) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            let left = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
            if left.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
                connections.close_one(Bound::Descriptors, None);
            } else {
                tracing::warn!(%error, "a connection was not accepted");
            }
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

/// Binds the admin's socket, accessible to its owner only. Removes a socket that a killed broker left.
/// An error if another process serves it.
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
