//! The sockets: counted, and able to say something that is not HTTP.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
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

use super::lock;

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
}

impl Door {
    /// To be called inside the runtime that accepts.
    pub(super) fn new(listener: std::net::TcpListener, traffic: Arc<Traffic>) -> Self {
        Self {
            listener: TcpListener::from_std(listener).expect("a listening socket"),
            traffic,
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
        (
            Wire {
                io,
                line: Arc::default(),
                traffic: self.traffic.clone(),
                raw: None,
            },
            address,
        )
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
    used: AtomicBool,
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
    /// True the first time it is asked on a connection.
    pub(super) fn first_use(&self) -> bool {
        !self.0.used.swap(true, Ordering::SeqCst)
    }

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

/// One connection.
pub(super) struct Wire {
    io: TcpStream,
    line: Arc<Line>,
    traffic: Arc<Traffic>,
    raw: Option<(Vec<u8>, usize)>,
}

impl Wire {
    /// Writes what a handler put in place of its response; then the connection has failed.
    fn poll_raw(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some((bytes, at)) = &mut self.raw else {
            return Poll::Pending;
        };
        while *at < bytes.len() {
            match ready!(Pin::new(&mut self.io).poll_write(context, &bytes[*at..])) {
                Ok(0) => break,
                Ok(written) => {
                    *at += written;
                    self.traffic
                        .down
                        .fetch_add(written as u64, Ordering::SeqCst);
                }
                Err(error) => return Poll::Ready(error),
            }
        }
        if bytes.is_empty() {
            // Nothing said: end with a reset, as a dying proxy does.
            drop(self.io.set_zero_linger());
        }
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
        let result = ready!(Pin::new(&mut self.io).poll_read(context, buffer));
        self.traffic
            .up
            .fetch_add((buffer.filled().len() - before) as u64, Ordering::SeqCst);
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
        let written = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
        self.traffic
            .down
            .fetch_add(written as u64, Ordering::SeqCst);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_flush(context));
        self.line.flushes.fetch_add(1, Ordering::SeqCst);
        let waiting = lock(&self.line.waiting).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
