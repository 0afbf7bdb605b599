//! Servers that are reached by HTTP: `git http-backend` behind nginx and Apache, HAProxy in front, and dulwich.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::forge::ca_file;
use crate::common::git;
use crate::common::repo::Repo;
use crate::daemon::{Daemon, free_port, listens, listens_at, program};
use crate::java;
use crate::life::{Machine, WITH_FILTERS, WITHOUT_FILTERS, allow_filters, live, repository};

/// A server with its files.
struct Server {
    port: u16,
    _daemons: Vec<Daemon>,
    _directory: TempDir,
    /// The server behind this one.
    _behind: Option<Box<Server>>,
}

impl Server {
    fn address(&self) -> String {
        format!("http://127.0.0.1:{}/git/repo.git", self.port)
    }

    fn machine(&self, repo: &Repo) -> Machine {
        Machine::new(repo, &self.address(), "")
    }
}

fn backend() -> PathBuf {
    let path = git::line(Command::new("git").arg("--exec-path"));
    Path::new(&path).join("git-http-backend")
}

/// A directory of a server that may not be root.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), mode).unwrap();
    directory
}

/// nginx with fcgiwrap. `location` are directives besides.
fn nginx(repo: &Repo, location: &str) -> Server {
    let (directory, port) = (directory(), free_port());
    let path = directory.path();
    let socket = path.join("fcgiwrap");
    let fcgiwrap = Daemon::start(
        Command::new(program("fcgiwrap")).args(["-s", &format!("unix:{}", socket.display())]),
        &path.join("fcgiwrap.log"),
        || listens_at(&socket),
    );
    let config = format!(
        r#"daemon off;
user root;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  fastcgi_temp_path {dir}/fastcgi;
  proxy_temp_path {dir}/proxy;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/git(/.*) {{
      {location}
      client_max_body_size 0;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param PATH_INFO $1;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_pass unix:{socket};
    }}
  }}
}}
"#,
        dir = path.display(),
        backend = backend().display(),
        root = repo.path().parent().unwrap().display(),
        socket = socket.display(),
    );
    let file = path.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let nginx = Daemon::start(
        Command::new(program("nginx")).arg("-c").arg(file),
        &path.join("nginx.log"),
        || listens(port),
    );
    Server {
        port,
        _daemons: vec![nginx, fcgiwrap],
        _directory: directory,
        _behind: None,
    }
}

/// The lines that hand the protocol version to git, as gitprotocol-v2(5) and nginx's manual have them.
const NGINX_VERSION_2: &str = "fastcgi_param GIT_PROTOCOL $http_git_protocol;";
/// As a configuration older than git 2.18: the header does not get through.
const NGINX_VERSION_0: &str = "fastcgi_param HTTP_GIT_PROTOCOL '';";

fn apache(repo: &Repo, version: &str) -> Server {
    let (directory, port) = (directory(), free_port());
    let path = directory.path();
    let modules = [
        "mpm_prefork",
        "authn_core",
        "authz_core",
        "alias",
        "cgi",
        "env",
        "setenvif",
    ]
    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
    .concat();
    let config = format!(
        r"ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/apache.pid
ErrorLog {dir}/error.log
ServerName localhost
Listen 127.0.0.1:{port}
{modules}
User www-data
Group www-data
SetEnv GIT_PROJECT_ROOT {root}
SetEnv GIT_HTTP_EXPORT_ALL
SetEnv GIT_CONFIG_COUNT 1
SetEnv GIT_CONFIG_KEY_0 safe.directory
SetEnv GIT_CONFIG_VALUE_0 *
{version}
ScriptAlias /git/ {backend}/
<Location /git/>
  Require all granted
</Location>
",
        dir = path.display(),
        root = repo.path().parent().unwrap().display(),
        backend = backend().display(),
    );
    let file = path.join("apache.conf");
    fs::write(&file, config).unwrap();
    let apache = Daemon::start(
        Command::new(program("apache2"))
            .arg("-f")
            .arg(file)
            .arg("-DFOREGROUND"),
        &path.join("apache.log"),
        || listens(port),
    );
    Server {
        port,
        _daemons: vec![apache],
        _directory: directory,
        _behind: None,
    }
}

const APACHE_VERSION_2: &str = "SetEnvIf Git-Protocol \".*\" GIT_PROTOCOL=$0";
const APACHE_VERSION_0: &str = "SetEnvIf Git-Protocol \".*\" HTTP_GIT_PROTOCOL=";

/// HAProxy, which ends TLS and HTTP/2, in front of a server. `rules` are lines of its frontend.
fn haproxy(behind: Server, rules: &str) -> Server {
    let (directory, port) = (directory(), free_port());
    let path = directory.path();
    let pem = path.join("server.pem");
    fs::write(&pem, certificate()).unwrap();
    let config = format!(
        r"defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend git
  bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1
  {rules}
  default_backend git
backend git
  server git 127.0.0.1:{inner}
",
        pem = pem.display(),
        inner = behind.port,
    );
    let file = path.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let haproxy = Daemon::start(
        Command::new(program("haproxy"))
            .args(["-db", "-f"])
            .arg(file),
        &path.join("haproxy.log"),
        || listens(port),
    );
    Server {
        port,
        _daemons: vec![haproxy],
        _directory: directory,
        _behind: Some(Box::new(behind)),
    }
}

/// The certificate for `localhost` and its key, as HAProxy reads them.
fn certificate() -> Vec<u8> {
    let read = |what: &str, name: &str| {
        let path = ca_file().with_file_name(name);
        git::succeeds(
            Command::new("openssl")
                .args([what, "-inform", "der", "-in"])
                .arg(path),
        )
    };
    [read("x509", "good.der"), read("pkey", "server.key.der")].concat()
}

/// dulwich's WSGI application, as its documentation starts it.
const DULWICH: &str = "
import sys
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import WSGIRequestHandlerLogger, WSGIServerLogger, make_server, make_wsgi_chain

app = make_wsgi_chain(DictBackend({'/git/repo.git': Repo(sys.argv[1])}))
make_server('127.0.0.1', int(sys.argv[2]), app, handler_class=WSGIRequestHandlerLogger,
            server_class=WSGIServerLogger).serve_forever()
";

fn dulwich(repo: &Repo) -> Server {
    let (directory, port) = (directory(), free_port());
    let dulwich = Daemon::start(
        // Debian's Python, which has the package.
        Command::new("/usr/bin/python3")
            .args(["-c", DULWICH])
            .arg(repo.path())
            .arg(port.to_string()),
        &directory.path().join("dulwich.log"),
        || listens(port),
    );
    Server {
        port,
        _daemons: vec![dulwich],
        _directory: directory,
        _behind: None,
    }
}

/// JGit's servlet in Jetty.
fn jgit(repo: &Repo) -> Server {
    let (directory, port) = (directory(), free_port());
    let path = directory.path();
    let config = format!(
        r#"<?xml version="1.0"?>
<!DOCTYPE Configure PUBLIC "-//Jetty//Configure//EN" "http://www.eclipse.org/jetty/configure_9_3.dtd">
<Configure id="Server" class="org.eclipse.jetty.server.Server">
  <Call name="addConnector"><Arg>
    <New class="org.eclipse.jetty.server.ServerConnector">
      <Arg name="server"><Ref refid="Server" /></Arg>
      <Set name="host">127.0.0.1</Set>
      <Set name="port">{port}</Set>
    </New>
  </Arg></Call>
  <Set name="handler">
    <New class="org.eclipse.jetty.servlet.ServletContextHandler">
      <Set name="contextPath">/</Set>
      <Call name="addServlet">
        <Arg>
          <New class="org.eclipse.jetty.servlet.ServletHolder">
            <Set name="className">org.eclipse.jgit.http.server.GitServlet</Set>
            <Call name="setInitParameter"><Arg>base-path</Arg><Arg>{root}</Arg></Call>
            <Call name="setInitParameter"><Arg>export-all</Arg><Arg>1</Arg></Call>
          </New>
        </Arg>
        <Arg>/git/*</Arg>
      </Call>
    </New>
  </Set>
</Configure>
"#,
        root = repo.path().parent().unwrap().display(),
    );
    let file = path.join("jetty.xml");
    fs::write(&file, config).unwrap();
    let jetty = Daemon::start(
        Command::new("java")
            .args([
                "-cp",
                &java::class_path(),
                "org.eclipse.jetty.xml.XmlConfiguration",
            ])
            .arg(file),
        &path.join("jetty.log"),
        || listens(port),
    );
    Server {
        port,
        _daemons: vec![jetty],
        _directory: directory,
        _behind: None,
    }
}

#[test]
fn nginx_with_fcgiwrap() {
    let repo = repository();
    allow_filters(&repo);
    let server = nginx(&repo, NGINX_VERSION_2);
    live(&server.machine(&repo), WITH_FILTERS);
}

#[test]
fn nginx_that_drops_the_version() {
    let repo = repository();
    // Filters are offered, but nothing can be asked for by its id.
    allow_filters(&repo);
    let server = nginx(&repo, NGINX_VERSION_0);
    live(&server.machine(&repo), WITHOUT_FILTERS);
}

#[test]
fn apache_with_cgi() {
    let repo = repository();
    let server = apache(&repo, APACHE_VERSION_2);
    live(&server.machine(&repo), WITHOUT_FILTERS);
}

#[test]
fn apache_that_drops_the_version() {
    let repo = repository();
    let server = apache(&repo, APACHE_VERSION_0);
    live(&server.machine(&repo), WITHOUT_FILTERS);
}

#[test]
fn haproxy_with_tls_in_front_of_a_private_repository() {
    let repo = repository();
    let users = tempfile::NamedTempFile::new().unwrap();
    // `openssl passwd -1 -salt salt secret`
    fs::write(users.path(), "alice:$1$salt$ez2vlPGdaLYkJam5pWs/Y1\n").unwrap();
    let private = format!(
        "auth_basic git; auth_basic_user_file {}; {NGINX_VERSION_2}",
        users.path().display()
    );
    let server = haproxy(nginx(&repo, &private), "");
    let address = format!("https://localhost:{}/git/repo.git", server.port);
    let settings = format!("ca_file = '{}'\n", ca_file().display());
    Machine::new(&repo, &address, &settings).refused(4, "source::no_permission");
    let machine = |password| {
        let netrc = format!("machine localhost login alice password {password}\n");
        Machine::new(&repo, &address, &settings).with_netrc(&netrc)
    };
    machine("wrong").refused(4, "source::unauthorized");
    live(&machine("secret"), WITHOUT_FILTERS);
}

#[test]
fn haproxy_that_removes_the_version() {
    let repo = repository();
    let server = haproxy(
        nginx(&repo, NGINX_VERSION_2),
        "http-request del-header Git-Protocol",
    );
    let address = format!("https://localhost:{}/git/repo.git", server.port);
    let settings = format!("ca_file = '{}'\n", ca_file().display());
    live(&Machine::new(&repo, &address, &settings), WITHOUT_FILTERS);
}

#[test]
fn dulwich_over_http() {
    let repo = repository();
    let server = dulwich(&repo);
    live(&server.machine(&repo), WITHOUT_FILTERS);
}

#[test]
fn jgit_over_http() {
    let repo = repository();
    let server = jgit(&repo);
    live(&server.machine(&repo), WITHOUT_FILTERS);
}
