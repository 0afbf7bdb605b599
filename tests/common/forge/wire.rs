//! The sockets: counted, with TLS or without, and able to say something that is not HTTP.
//!
//! What is counted is what the HTTP layer sends and receives; TLS adds its own bytes.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};

use super::{lock, tls::Certificate};

/// Bytes and connections of a forge.
#[derive(Default)]
pub(super) struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
}

impl Traffic {
    pub(super) fn get(&self) -> (u64, u64) {
        (
            self.up.load(Ordering::SeqCst),
            self.down.load(Ordering::SeqCst),
        )
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn reset(&self) {
        for counter in [&self.up, &self.down, &self.connections] {
            counter.store(0, Ordering::SeqCst);
        }
    }
}

/// The listener: every connection comes out as a [`Wire`].
pub(super) struct Door {
    listener: TcpListener,
    traffic: Arc<Traffic>,
    tls: Option<TlsAcceptor>,
}

impl Door {
    /// To be called inside the runtime that accepts.
    pub(super) fn new(
        listener: std::net::TcpListener,
        traffic: Arc<Traffic>,
        certificate: Option<Certificate>,
    ) -> Self {
        Self {
            listener: TcpListener::from_std(listener).expect("a listening socket"),
            traffic,
            tls: certificate.map(|certificate| certificate.server().into()),
        }
    }
}

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (io, address) = Listener::accept(&mut self.listener).await;
        // Otherwise a small answer waits for the acknowledgement of its header.
        drop(io.set_nodelay(true));
        self.traffic.connections.fetch_add(1, Ordering::SeqCst);
        let io = match &self.tls {
            None => Stream::Plain(io),
            // Shaking hands here would make every other client wait for this one.
            Some(tls) => Stream::Greeting(Box::new(tls.accept(io))),
        };
        let wire = Wire {
            io,
            line: Arc::default(),
            traffic: self.traffic.clone(),
            raw: None,
        };
        (wire, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Listener::local_addr(&self.listener)
    }
}

/// What a handler can do to its connection.
#[derive(Clone)]
pub(super) struct Peer(Arc<Line>);

#[derive(Default)]
struct Line {
    /// Said instead of the next response, after which the connection ends.
    instead: Mutex<Option<Vec<u8>>>,
    flushes: AtomicU64,
    waiting: Mutex<Option<Waker>>,
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(stream.io().line.clone())
    }
}

impl Peer {
    /// The next response is replaced by these bytes, then the connection is closed.
    pub(super) fn say_instead(&self, bytes: Vec<u8>) {
        *lock(&self.0.instead) = Some(bytes);
    }

    pub(super) fn flushes(&self) -> u64 {
        self.0.flushes.load(Ordering::SeqCst)
    }

    /// Ready as soon as everything written since `flushes` was read is in the socket.
    pub(super) fn poll_flushed(&self, since: u64, context: &Context<'_>) -> Poll<()> {
        *lock(&self.0.waiting) = Some(context.waker().clone());
        if self.flushes() > since {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Greeting(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
    Failed,
}

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl Stream {
    /// What to read from and write to, once the handshake is over.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Io>>> {
        if let Self::Greeting(accept) = self {
            let result = ready!(Pin::new(accept.as_mut()).poll(context));
            *self = match result {
                Ok(stream) => Self::Tls(Box::new(stream)),
                Err(error) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            };
        }
        Poll::Ready(match self {
            Self::Plain(io) => Ok(Pin::new(io)),
            Self::Tls(io) => Ok(Pin::new(io.as_mut())),
            Self::Greeting(_) | Self::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(io) => Some(io),
            Self::Tls(io) => Some(io.get_ref().0),
            Self::Greeting(_) | Self::Failed => None,
        }
    }
}

/// One connection.
pub(super) struct Wire {
    io: Stream,
    line: Arc<Line>,
    traffic: Arc<Traffic>,
    raw: Option<(Vec<u8>, usize)>,
}

impl Wire {
    /// Writes what a handler put in place of its response; then the connection has failed.
    fn poll_raw(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Self {
            io, raw, traffic, ..
        } = self;
        let Some((bytes, at)) = raw else {
            return Poll::Pending;
        };
        if bytes.is_empty() {
            // Nothing said: end with a reset, as a dying proxy does.
            drop(io.socket().map(TcpStream::set_zero_linger));
        }
        let mut io = match ready!(io.poll_ready(context)) {
            Ok(io) => io,
            Err(error) => return Poll::Ready(error),
        };
        while *at < bytes.len() {
            match ready!(io.as_mut().poll_write(context, &bytes[*at..])) {
                Ok(0) => break,
                Ok(written) => {
                    *at += written;
                    traffic.down.fetch_add(written as u64, Ordering::SeqCst);
                }
                Err(error) => return Poll::Ready(error),
            }
        }
        // TLS keeps what the socket did not take.
        drop(ready!(io.poll_flush(context)));
        Poll::Ready(io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let io = ready!(self.io.poll_ready(context))?;
        let result = ready!(io.poll_read(context, buffer));
        let read = buffer.filled().len() - before;
        self.traffic.up.fetch_add(read as u64, Ordering::SeqCst);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let instead = lock(&self.line.instead).take();
        if let Some(instead) = instead {
            self.raw = Some((instead, 0));
        }
        if self.raw.is_some() {
            return self.poll_raw(context).map(Err);
        }
        let io = ready!(self.io.poll_ready(context))?;
        let written = ready!(io.poll_write(context, bytes))?;
        self.traffic
            .down
            .fetch_add(written as u64, Ordering::SeqCst);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = ready!(self.io.poll_ready(context))?;
        let result = ready!(io.poll_flush(context));
        self.line.flushes.fetch_add(1, Ordering::SeqCst);
        let waiting = lock(&self.line.waiting).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = ready!(self.io.poll_ready(context))?;
        io.poll_shutdown(context)
    }
}
