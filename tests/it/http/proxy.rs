//! A SOCKS proxy, which whole networks are reached through.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::thread::{self, JoinHandle};

use super::*;

/// Serves one connection of SOCKS 5 without a login (RFC 1928), to `upstream` whatever is asked for; the result is the
/// name and port that were asked for.
fn serve_one(listener: TcpListener, upstream: String) -> JoinHandle<(String, u16)> {
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            client.read_exact(&mut bytes).unwrap();
            bytes
        };
        let methods = read(2);
        assert_eq!(methods[0], 5);
        read(usize::from(methods[1]));
        client.write_all(&[5, 0]).unwrap();
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            client.read_exact(&mut bytes).unwrap();
            bytes
        };
        let connect = read(5);
        assert_eq!(connect[..4], [5, 1, 0, 3], "connect, by name");
        let name = String::from_utf8(read(usize::from(connect[4]))).unwrap();
        let port = u16::from_be_bytes(read(2).try_into().unwrap());
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let address = upstream.to_socket_addrs().unwrap().next().unwrap();
        let mut server = TcpStream::connect(address).unwrap();
        let (mut from_client, mut to_server) =
            (client.try_clone().unwrap(), server.try_clone().unwrap());
        // Either side may end with a reset, and then the other one ends too.
        let up = thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        up.join().unwrap();
        (name, port)
    })
}

#[test]
fn a_socks_proxy_is_asked_by_name_and_not_for_this_machine() {
    let forge = Forge::serve(&Repo::small());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("socks5h://{}", listener.local_addr().unwrap());
    let served = serve_one(listener, forge.host());
    let env = Env::empty().with("ALL_PROXY", proxy);
    let options = Options {
        proxies: Options::new(None, Limits::default(), &env).proxies,
        ..options()
    };
    let client = Client::new(options, Interrupt::default()).unwrap();
    assert_eq!(client.fetch(&get(&forge, COMMIT)).unwrap().status, 200);
    let far = url(&format!("http://git.example.org{COMMIT}")).unwrap();
    assert_eq!(client.fetch(&Request::get(far)).unwrap().status, 200);
    drop(client);
    assert_eq!(served.join().unwrap(), ("git.example.org".to_owned(), 80));
}

#[test]
fn a_proxy_that_cannot_be_used_does_not_fail_requests_that_bypass_it() {
    let forge = Forge::serve(&Repo::small());
    let env = Env::empty().with("ALL_PROXY", "quic://127.0.0.1:1");
    let options = Options::new(None, Limits::default(), &env);
    let client = Client::new(options, Interrupt::default()).unwrap();
    assert_eq!(client.fetch(&get(&forge, COMMIT)).unwrap().status, 200);
    let far = Request::get(url("http://git.example.org/").unwrap());
    let error = client.fetch(&far).unwrap_err();
    assert!(
        matches!(error, Error::Setup(SetupError::Proxy { .. })),
        "{error:?}"
    );
    assert_eq!(client.traffic().requests, 1);
}
