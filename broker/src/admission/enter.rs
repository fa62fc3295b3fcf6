//! Lets one request in: its turn, its credentials, then its body. SPEC 5.4.2, 5.7, 5.11.
//!
//! Owns: the order of these steps. Does not own: the order of turns (`turns`), the check of credentials
//! (`authenticate`), how many bytes are left (`budget`), the operation (`service`).
//!
//! Invariants: a signature is checked only in a turn. If a call needs a proof, its body is read only
//! after its headers are verified. The body of a refused call is not read. After the proof the turn, the
//! room and the bytes count for the proven caller. No call holds a turn or a place in a lane while its
//! body is on the way.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http_body_util::Full;
use sublet_core::base::bytes::sha256;
use sublet_core::refusal::{Overload, Refusal};
use sublet_proto::PROOF_METADATA;
use sublet_proto::credentials::{self, Form};
use sublet_proto::digest::MessageDigest;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::request::Parts;
use tonic::codegen::http::{HeaderMap, Request};
use tonic::metadata::MetadataMap;

use super::Admission;
use super::account::Account;
use super::body::{self, Bounded, NotTaken};
use super::bounds::REQUEST_BYTES;
use super::budget::Held;
use super::notices::Bound;
use super::pool::{Full as Of, Taken};
use super::route::{Content, Proof, Route};
use super::share::Share;
use super::timed::timed;
use super::turns::{Busy, Ticket, Turn};
use crate::broker::Broker;
use crate::ledger::publish;
use crate::request::authenticate::{self, Introduced};
use crate::transport::listen::Via;
use sublet_host::ports;

/// A request that was let in, and what it holds. Its fields are dropped in this order.
pub(super) struct LetIn {
    /// The request. Its body was read, unless it is a stream of messages.
    pub(super) request: Request<Body>,
    /// Its turn.
    pub(super) turn: Turn,
    /// Its place in the lane.
    pub(super) ticket: Ticket,
    /// Its bytes.
    pub(super) held: Held,
    /// Its place among the calls without a valid proof; `None` after a valid proof.
    pub(super) call: Option<Taken>,
}

/// Lets in one request of this connection and route.
pub(super) struct Entrance<'a> {
    pub(super) broker: &'a Broker,
    pub(super) admission: &'a Admission,
    pub(super) via: &'a Via,
    pub(super) route: Route,
}

/// A place in a lane, a turn and counted bytes, of one share.
struct Seat {
    turn: Turn,
    ticket: Ticket,
    held: Held,
}

impl Entrance<'_> {
    /// Lets a request in, or returns why not.
    pub(super) async fn let_in(&self, mut parts: Parts, content: Body) -> Result<LetIn, Refusal> {
        let header_bytes = header_bytes(&parts.headers);
        let share = self.share(&parts.headers);
        let mut seat = self.seat(share, header_bytes).await?;
        if let Some(introduced) = self.introduced(&mut parts, &mut seat)? {
            seat = self.of_caller(seat, &introduced, header_bytes).await?;
            parts.extensions.insert(introduced);
        }
        let Seat { turn, ticket, mut held } = seat;
        let call = match ticket.share().is_proven() {
            true => None,
            false => Some(self.stranger()?),
        };
        let bytes = match self.route.content {
            Content::Nothing => {
                let request = Request::from_parts(parts, Body::empty());
                return Ok(LetIn { request, turn, ticket, held, call });
            }
            Content::Messages => {
                let bytes_max = self.route.bytes_max;
                held.grow(bytes_max).map_err(|refusal| self.no_room(refusal.into()))?;
                let request =
                    Request::from_parts(parts, Body::new(Bounded::new(content, bytes_max)));
                return Ok(LetIn { request, turn, ticket, held, call });
            }
            Content::Form | Content::Message => self.body(content, &mut held, turn, ticket),
        };
        let (bytes, turn, ticket) = bytes.await?;
        if self.route.content == Content::Message {
            let message = bytes.get(body::FRAME_BYTES..).unwrap_or_default();
            parts.extensions.insert(MessageDigest(sha256(message)));
        }
        let request = Request::from_parts(parts, Body::new(Full::new(bytes)));
        Ok(LetIn { request, turn, ticket, held, call })
    }

    /// Returns the share that the request counts for, before its proof is checked.
    fn share(&self, headers: &HeaderMap) -> Share {
        // A reader with the ledger's bearer token needs no call proof.
        let reads = self.route.proof == Proof::None && self.route.content == Content::Nothing;
        if reads && publish::may_read(headers, &self.broker.keys.ring.ledger_bearer) {
            return Share::Caller(Account::Ledger);
        }
        let share = self.via.link().map_or(Share::Connection(0), |link| link.share());
        let proves = match self.route.proof {
            Proof::Metadata | Proof::Headers => true,
            Proof::IfShown => headers.contains_key(PROOF_METADATA),
            Proof::None => false,
        };
        match (&share, self.via.link()) {
            // A call without a proof counts for its address, also on a connection with a valid proof.
            (Share::Caller(_), Some(link)) if !proves => link.stranger(),
            _ => share,
        }
    }

    /// Takes bytes for the headers, a place in the lane of this share, and a turn.
    async fn seat(&self, share: Share, header_bytes: usize) -> Result<Seat, Refusal> {
        let mut held = self.held(&share);
        held.grow(header_bytes).map_err(|refusal| self.no_room(refusal.into()))?;
        let (turn, ticket) = self.turn(share).await?;
        Ok(Seat { turn, ticket, held })
    }

    /// Takes a place in the lane, and waits for a turn.
    async fn turn(&self, share: Share) -> Result<(Turn, Ticket), Refusal> {
        let lane = self.admission.lanes.of(&share, self.route.must_have_room);
        let entered = lane.enter(share, self.via.link(), ports::monotonic());
        let mut ticket = entered.map_err(|busy| self.busy(busy))?;
        let turn = ticket.turn().await.map_err(|busy| self.busy(busy))?;
        Ok((turn, ticket))
    }

    fn held(&self, share: &Share) -> Held {
        let (bytes, must) = (&self.admission.bytes, self.route.must_have_room);
        let connection = self.via.link().map(|link| link.bytes());
        match share {
            Share::Caller(account) => bytes.proven(connection, Some(account.clone()), must),
            _ => bytes.unproven(connection, self.via.network().map(Account::Network), must),
        }
    }

    /// Returns how credentials are sent on this route; `None` if it reads none.
    fn form(&self) -> Option<Form> {
        match self.route.content {
            Content::Message | Content::Messages => Some(Form::Metadata),
            Content::Form => Some(Form::Headers),
            // No code reads credentials here.
            Content::Nothing => None,
        }
    }

    /// Verifies the headers; `None` if no proof is needed. A failure counts against the connection and
    /// its share.
    fn introduced(
        &self,
        parts: &mut Parts,
        seat: &mut Seat,
    ) -> Result<Option<Arc<Introduced>>, Refusal> {
        let path = parts.uri.path().to_owned();
        if let Some(form) = self.form() {
            credentials::check_names(&parts.headers, form).map_err(Refusal::from)?;
        }
        let credentials = match self.route.proof {
            Proof::None => return Ok(None),
            Proof::IfShown if !parts.headers.contains_key(PROOF_METADATA) => return Ok(None),
            Proof::Headers => credentials::from_headers(&parts.headers),
            Proof::Metadata | Proof::IfShown => {
                let metadata = MetadataMap::from_headers(std::mem::take(&mut parts.headers));
                let credentials = credentials::from_metadata(&metadata);
                parts.headers = metadata.into_headers();
                credentials
            }
        };
        let introduced = timed(&mut seat.turn, || {
            authenticate::introduce(self.broker, credentials, self.via, &path)
        });
        if introduced.is_err() {
            seat.turn.failed();
            self.via.failed();
        }
        Ok(Some(Arc::new(introduced?)))
    }

    /// Returns the same seat under the share of the proven caller, if it was taken under another share.
    async fn of_caller(
        &self,
        seat: Seat,
        introduced: &Introduced,
        header_bytes: usize,
    ) -> Result<Seat, Refusal> {
        match Account::of(introduced.caller()).map(Share::Caller) {
            Some(share) if share != *seat.ticket.share() => {
                drop(seat);
                self.seat(share, header_bytes).await
            }
            _ => Ok(seat),
        }
    }

    /// Reads the body. If it has not arrived yet, the turn and the place in the lane are given back
    /// meanwhile.
    async fn body(
        &self,
        content: Body,
        held: &mut Held,
        turn: Turn,
        ticket: Ticket,
    ) -> Result<(Bytes, Turn, Ticket), Refusal> {
        let (form, bytes_max) = (self.route.content == Content::Form, self.route.bytes_max);
        let reading = async {
            match form {
                true => body::form(content, bytes_max, held).await,
                false => body::message(content, bytes_max, held).await,
            }
        };
        let mut reading = pin!(reading);
        let here = std::future::poll_fn(|context| match reading.as_mut().poll(context) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => Poll::Ready(None),
        });
        let no_room = |not| self.no_room(not);
        match here.await {
            Some(read) => Ok((read.map_err(no_room)?, turn, ticket)),
            None => {
                let share = ticket.share().clone();
                drop((turn, ticket));
                let read = reading.await.map_err(no_room)?;
                let (turn, ticket) = self.turn(share).await?;
                Ok((read, turn, ticket))
            }
        }
    }

    /// Takes a place among the calls without a valid proof.
    fn stranger(&self) -> Result<Taken, Refusal> {
        let pool = match self.route.must_have_room {
            true => &self.admission.reserved_calls,
            false => &self.admission.unproven_calls,
        };
        let mut call = pool.open(self.via.network().map(Account::Network));
        // A `--dev` broker listens on loopback only, and its watchers have a bound of their own.
        let units = usize::from(!(self.broker.config.dev && self.route.lasts));
        let Err(full) = call.grow(units) else { return Ok(call) };
        let (bound, whose) = match full {
            Of::Each => (Bound::AddressCalls, "this address"),
            Of::All => (Bound::UnprovenCalls, "all addresses"),
        };
        self.admission.notices.met(bound, &self.via.peer(), pool.used());
        Err(Overload::Calls(whose).into())
    }

    fn no_room(&self, not: NotTaken) -> Refusal {
        match not {
            NotTaken::Refusal(refusal) => refusal,
            NotTaken::NoRoom(full) => {
                self.admission.notices.met(full.0, &self.via.peer(), self.admission.bytes());
                Overload::from(full).into()
            }
        }
    }

    fn busy(&self, busy: Busy) -> Refusal {
        self.admission.notices.met(Bound::Turns, &self.via.peer(), 0);
        Overload::from(busy).into()
    }
}

/// Returns what the headers cost while they are held, in bytes.
fn header_bytes(headers: &HeaderMap) -> usize {
    let each = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    each.fold(REQUEST_BYTES, usize::saturating_add)
}
