//! The broker's sockets: TCP, with or without TLS, and a Unix socket for the admin.
//!
//! Owns: accepting, TLS handshakes beside each other, and what is known of a connection. Does not own:
//! certificates (`tls`), how many connections there may be (`admission`), what is served.
//!
//! Invariants: a handshake holds up nobody and ends in time; a connection in its handshake is one like any
//! other, under the same bounds; only the user that the broker runs as, and root, get through the Unix
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

/// After an error of accepting, such as no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// How a request came in.
#[derive(Clone, Debug, Default)]
pub struct Via {
    /// Whether through the Unix socket.
    pub local: bool,
    /// The certificate that the connection showed.
    shown: Option<Arc<Shown>>,
    /// What it has in flight.
    link: Option<Arc<Link>>,
}

impl Via {
    /// The certificate that the connection showed, if it showed one. One that does not hold is refused.
    pub fn certificate(&self, now: UnixMillis) -> Result<Option<&Certificate>, Unauthenticated> {
        let shown = self.shown.as_ref().map(|shown| shown.certificate(now));
        Ok(shown.transpose()?)
    }

    /// The connection, as bounds are counted on it.
    pub(crate) fn link(&self) -> Option<&Arc<Link>> {
        self.link.as_ref()
    }

    /// What requests without a proof count against; `None` where addresses tell nothing.
    pub(crate) fn network(&self) -> Option<Network> {
        self.link.as_ref().and_then(|link| link.peer().network)
    }

    /// Where it comes from, for the log.
    pub(crate) fn peer(&self) -> Address {
        Address(self.link.as_ref().and_then(|link| link.peer().address))
    }

    /// This caller has proven itself: the connection is its own from now on.
    pub(crate) fn proven(&self, caller: &Caller) {
        if let (Some(link), Some(account)) = (&self.link, Account::of(caller)) {
            link.proven(account);
        }
    }

    /// A proof on it did not hold.
    pub(crate) fn failed(&self) {
        if let Some(link) = &self.link {
            link.failed();
        }
    }

    /// Somebody has shown the bearer token of the ledger.
    pub(crate) fn reads_the_ledger(&self) {
        if let Some(link) = &self.link {
            link.proven(Account::Ledger);
        }
    }
}

/// Something bytes flow through.
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
    /// Connections as they become ready, until nobody takes them any more.
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
        // Without a place it is closed.
        let Some(place) = connections.admit(Some(address.ip())).await else { continue };
        // Nagle's algorithm and delayed acknowledgements make 40 ms of every small answer.
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

/// The metrics listener: each connection has a place and few seconds.
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

/// What was accepted. Where no descriptor is left, the oldest connection of a stranger is closed.
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
