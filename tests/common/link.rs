//! A slow link in front of a server: a proxy on loopback that delays and paces bytes as a real line does.
//!
//! It works on bytes and knows no requests, so every way of talking pays what it costs on a real line: TCP's handshake
//! a round trip, TLS's as many as the two sides take, a request on an open connection one, ten requests in a row ten.
//! Each direction has the whole bandwidth, shared by all connections. The handshake of TCP is charged to the client's
//! first bytes, because connecting to loopback takes no time.
//!
//! Limits: nothing is lost or reordered, and buffers are endless. A real line's first seconds are slower than its
//! bandwidth; [`Link::slow_start`] adds that.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// Ten segments, the window a connection begins with (RFC 6928).
const INITIAL_WINDOW: usize = 10 * 1460;
/// What is handed on at a time: a little more than two packets, so that a reader sees an answer begin before it ends.
const CHUNK: usize = 4096;

/// What a line is like.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// There and back.
    pub round_trip: Duration,
    /// In each direction.
    pub bytes_per_second: u64,
    /// Whether a connection has to find out the bandwidth first, as TCP does.
    pub slow_start: bool,
}

/// The line to one server. It is cut when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    server: SocketAddr,
    up: Direction,
    down: Direction,
    connections: AtomicU64,
    closed: AtomicBool,
}

struct Direction {
    /// When the line has sent everything that it was given.
    free: Mutex<Instant>,
    bytes: AtomicU64,
}

impl Direction {
    fn new() -> Self {
        Self {
            free: Mutex::new(Instant::now()),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Proxy {
    /// Lays a line to `server`, a port on loopback.
    pub fn to(server: SocketAddr, link: Link) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            link,
            server,
            up: Direction::new(),
            down: Direction::new(),
            connections: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.closed.load(Ordering::SeqCst) {
                    break;
                }
                serving.connect(client);
            }
        });
        Self { address, shared }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that went over the line, TLS included: (up, down).
    pub fn bytes(&self) -> (u64, u64) {
        let read = |direction: &Direction| direction.bytes.load(Ordering::SeqCst);
        (read(&self.shared.up), read(&self.shared.down))
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        let shared = &self.shared;
        for counter in [&shared.up.bytes, &shared.down.bytes, &shared.connections] {
            counter.store(0, Ordering::SeqCst);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let established = Instant::now() + self.link.round_trip;
        let Ok(server) = TcpStream::connect(self.server) else {
            return;
        };
        for socket in [&client, &server] {
            drop(socket.set_nodelay(true));
        }
        let clone = |socket: &TcpStream| socket.try_clone().expect("a descriptor");
        let (client_too, server_too) = (clone(&client), clone(&server));
        self.pump(client, server, established, |shared| &shared.up);
        self.pump(server_too, client_too, established, |shared| &shared.down);
    }

    /// One direction of a connection: one thread takes bytes as they are sent, another hands them on when they arrive.
    fn pump(
        self: &Arc<Self>,
        mut from: TcpStream,
        mut to: TcpStream,
        established: Instant,
        direction: fn(&Self) -> &Direction,
    ) {
        let (sender, on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>();
        let shared = self.clone();
        thread::spawn(move || {
            let mut window = shared.link.slow_start.then(Window::new);
            let mut buffer = [0; CHUNK];
            loop {
                let read = from.read(&mut buffer).unwrap_or(0);
                let sent = Instant::now().max(established);
                let arrives = shared.arrival(direction(&shared), sent, read, window.as_mut());
                if sender.send((arrives, buffer[..read].to_vec())).is_err() || read == 0 {
                    break;
                }
            }
        });
        thread::spawn(move || {
            while let Ok((arrives, bytes)) = on_the_way.recv() {
                thread::sleep(arrives.saturating_duration_since(Instant::now()));
                if bytes.is_empty() || to.write_all(&bytes).is_err() {
                    break;
                }
            }
            drop(to.shutdown(Shutdown::Write));
        });
    }

    /// When the last of so many bytes, sent at `sent`, is at the other end.
    fn arrival(
        &self,
        direction: &Direction,
        sent: Instant,
        bytes: usize,
        window: Option<&mut Window>,
    ) -> Instant {
        direction.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
        let nanoseconds = 1_000_000_000 * bytes as u64 / self.link.bytes_per_second.max(1);
        let way = self.link.round_trip / 2;
        let mut free = direction.free.lock().expect("no sender panicked");
        let Some(window) = window else {
            *free = sent.max(*free) + Duration::from_nanos(nanoseconds);
            return *free + way;
        };
        let allowed = window.wait(sent, bytes);
        *free = allowed.max(*free) + Duration::from_nanos(nanoseconds);
        window.flying.push_back((*free + 2 * way, bytes));
        *free + way
    }
}

/// How much a connection may have on the way: it doubles with every round trip, as long as nothing is lost.
struct Window {
    size: usize,
    in_flight: usize,
    /// When each part is acknowledged.
    flying: VecDeque<(Instant, usize)>,
}

impl Window {
    fn new() -> Self {
        Self {
            size: INITIAL_WINDOW,
            in_flight: 0,
            flying: VecDeque::new(),
        }
    }

    /// When so many bytes may be sent.
    fn wait(&mut self, mut at: Instant, bytes: usize) -> Instant {
        while let Some(&(acknowledged, part)) = self.flying.front() {
            let is_full = self.in_flight + bytes > self.size;
            if acknowledged > at && !is_full {
                break;
            }
            at = at.max(acknowledged);
            self.flying.pop_front();
            self.in_flight -= part;
            self.size += part;
        }
        self.in_flight += bytes;
        at
    }
}
