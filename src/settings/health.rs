//! The section `[health]`: when a machine counts as healthy.
//!
//! A check is a table of its own, `[health.checks.NAME]`. Its name is chosen by the user, so only the
//! configuration file has checks: neither a variable nor an option can name one.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use super::Problem;
use super::amount::Count;
use super::layers::Layers;
use super::paths::PathBase;
use super::value::{Argument, CheckUrl, UnitName, Value, not_a_value};

/// The table that has a table for each check.
const CHECKS: &str = "health.checks";
/// Names of checks that are settings by themselves.
const RESERVED: &[&str] = &["units", "remote"];
/// Longer names do not fit into a table of results.
const NAME_MAX: usize = 60;
/// A service that starts slowly, a certificate that is fetched first; a machine that takes longer is not healthy.
const WITHIN: Duration = Duration::from_secs(2 * 60);
/// An answer of the machine itself takes milliseconds, one of another machine seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the health checks.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether a unit that has failed makes the machine unhealthy.
    pub units: bool,
    /// Whether the repository must be reached.
    pub remote: bool,
    /// How long all checks together may be tried again.
    pub within: Duration,
    /// Whether a switch is reverted if the checks fail after it.
    pub confirm: bool,
    /// How long one try of `remote` may take, and of a check without a time of its own.
    pub timeout: Duration,
    /// The checks, by their names.
    pub checks: Vec<HealthCheck>,
}

/// One entry of `health.checks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Its name.
    pub name: String,
    /// What is asked.
    pub probe: Probe,
    /// How long one try may take.
    pub timeout: Duration,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A program ends with exit code 0. No shell is between.
    Command(Vec<String>),
    /// An address answers a `GET` with a status.
    Url {
        /// The address, without credentials.
        url: String,
        /// The status that is expected; `None`: any 2xx or 3xx.
        status: Option<u16>,
    },
    /// A port accepts a connection.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A systemd unit is active.
    Unit(String),
}

/// What is wrong with a check, or a value of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckFault {
    /// A name that cannot be written everywhere.
    Name,
    /// A name with another meaning.
    Reserved,
    /// Nothing is asked.
    Nothing,
    /// More than one thing is asked.
    Several(Vec<&'static str>),
    /// A status without an address that would answer it.
    StatusWithoutUrl,
    /// No status of HTTP.
    Status,
    /// No address.
    Url,
    /// A password in an address.
    Credentials,
    /// A program by a relative path.
    Program(String),
}

/// Looks the section up.
pub(super) fn resolve(layers: &mut Layers<'_>) -> Health {
    let units = layers.value("health.units", true);
    let remote = layers.value("health.remote", false);
    let within = layers.value("health.within", WITHIN);
    let timeout = layers.value("health.timeout", TIMEOUT);
    let confirm = layers.value("health.confirm", false);
    let tables = layers.tables(CHECKS).into_iter();
    Health {
        units,
        remote,
        within,
        confirm,
        timeout,
        checks: tables
            .filter_map(|name| check(layers, name, timeout))
            .collect(),
    }
}

/// One check; `None` where it is refused.
fn check(layers: &mut Layers<'_>, name: String, timeout: Duration) -> Option<HealthCheck> {
    let table = format!("{CHECKS}.{name}");
    let key = |key: &str| format!("{table}.{key}");
    let command = layers.key::<Vec<Argument>>(key("command"));
    let url = layers.key::<CheckUrl>(key("url"));
    let status = layers.key::<Count>(key("status"));
    let tcp = layers.key::<TcpAddress>(key("tcp"));
    let unit = layers.key::<UnitName>(key("unit"));
    let timeout = layers.key_or(key("timeout"), timeout);

    let mut faults = Vec::new();
    if let Err(fault) = check_name(&name) {
        faults.push(fault);
    }
    let given: Vec<&'static str> = ["command", "url", "tcp", "unit"]
        .into_iter()
        .filter(|kind| layers.is_given(&key(kind)))
        .collect();
    match given.as_slice() {
        [] => faults.push(CheckFault::Nothing),
        [_] => {}
        _ => faults.push(CheckFault::Several(given.clone())),
    }
    if layers.is_given(&key("status")) && !given.contains(&"url") {
        faults.push(CheckFault::StatusWithoutUrl);
    }
    let is_refused = !faults.is_empty();
    for fault in faults {
        layers.refuse(&table, Problem::Check(fault));
    }
    let status = status.and_then(|Count(status)| {
        let status = u16::try_from(status).ok();
        let status = status.filter(|status| (100..600).contains(status));
        if status.is_none() {
            layers.refuse(&key("status"), Problem::Check(CheckFault::Status));
        }
        status
    });
    if let Some(command) = &command
        && let Err(problem) = check_program(command.first())
    {
        layers.refuse(&key("command"), problem);
    }
    if is_refused {
        return None;
    }
    let command = command.map(|arguments| {
        let arguments = arguments.into_iter().map(|argument| argument.0);
        Probe::Command(arguments.collect())
    });
    let probe = command
        .or_else(|| url.map(|CheckUrl(url)| Probe::Url { url, status }))
        .or_else(|| tcp.map(|TcpAddress { host, port }| Probe::Tcp { host, port }))
        .or_else(|| unit.map(|UnitName(unit)| Probe::Unit(unit)))?;
    Some(HealthCheck {
        name,
        probe,
        timeout,
    })
}

/// A name is a bare key of TOML: it stands in lists, in the names of settings and in logs.
fn check_name(name: &str) -> Result<(), CheckFault> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_plain) {
        return Err(CheckFault::Name);
    }
    if RESERVED.contains(&name) {
        return Err(CheckFault::Reserved);
    }
    Ok(())
}

fn check_program(program: Option<&Argument>) -> Result<(), Problem> {
    match program.map(|program| program.0.as_str()) {
        None | Some("") => Err(Problem::Empty),
        Some(program) if program.contains('/') && !program.starts_with('/') => {
            Err(Problem::Check(CheckFault::Program(program.to_owned())))
        }
        Some(_) => Ok(()),
    }
}

/// An address that can be asked.
pub(super) fn parse_url(text: &str) -> Result<String, Problem> {
    let fault = match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => CheckFault::Url,
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            CheckFault::Credentials
        }
        Ok(url) if url.fragment().is_some() => CheckFault::Url,
        Ok(url) => return Ok(url.into()),
        Err(_) => CheckFault::Url,
    };
    Err(Problem::Check(fault))
}

/// The name of a unit, with `.service` where it has no type. The characters are those of `systemd.unit(5)`.
pub(super) fn parse_unit(text: &str) -> Result<String, Problem> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(is_of_a_name) {
        return Err(not_a_value::<UnitName>(text));
    }
    if text.contains('.') {
        return Ok(text.to_owned());
    }
    Ok(format!("{text}.service"))
}

/// A port of a host.
struct TcpAddress {
    host: String,
    port: u16,
}

impl Value for TcpAddress {
    const TAKES: &'static str = "a host and a port, such as `localhost:5432` or `[::1]:22`";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        let is_of_a_host = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let address = text.rsplit_once(':').and_then(|(host, port)| {
            let bare = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'));
            // Without brackets, the last group of an IPv6 address would be the port.
            let is_host = bare.map_or_else(
                || !host.is_empty() && !host.starts_with('-') && host.chars().all(is_of_a_host),
                |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
            );
            let port: u16 = port.parse().ok()?;
            (is_host && port != 0).then(|| Self {
                host: bare.unwrap_or(host).to_owned(),
                port,
            })
        });
        address.ok_or_else(|| not_a_value::<Self>(text))
    }

    fn show(&self) -> toml::Value {
        let Self { host, port } = self;
        toml::Value::String(if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        })
    }
}

impl CheckFault {
    /// What to do about it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Name => {
                "a check's name has letters, digits, `-` and `_`, at most 60 of them, such as `[health.checks.web]`"
            }
            Self::Reserved => {
                "give it another name; `health.units` and `health.remote` are settings by themselves"
            }
            Self::Nothing => "give one of `command`, `url`, `tcp` and `unit`",
            Self::Several(_) => "make a check of each, with a name of its own",
            Self::StatusWithoutUrl => "remove `status`, which belongs to a `url`",
            Self::Status => "give a number from 100 to 599, such as `401`",
            Self::Url => {
                "write the whole address, such as `http://localhost:8080/health`, without a fragment (`#…`)"
            }
            Self::Credentials => {
                "remove them: everyone can read this file; to ask with a password, use a `command` that reads it from a file"
            }
            Self::Program(_) => {
                "give the program's name, or its path from `/`; the arguments are the next items of the list"
            }
        }
    }
}

/// Continues "`health.checks.web` …".
impl fmt::Display for CheckFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => formatter.write_str("has a name that cannot be used"),
            Self::Reserved => formatter.write_str("has the name of a setting of `[health]`"),
            Self::Nothing => formatter.write_str("does not say what is checked"),
            Self::Several(given) => {
                write!(
                    formatter,
                    "has `{}` at the same time",
                    given.join("` and `")
                )
            }
            Self::StatusWithoutUrl => formatter.write_str("has `status` without `url`"),
            Self::Status => formatter.write_str("is not a status of HTTP"),
            Self::Url => formatter.write_str("is not an address with `http://` or `https://`"),
            Self::Credentials => formatter.write_str("has credentials in it"),
            Self::Program(program) => write!(
                formatter,
                "begins with `{}`, which is neither a program's name nor a whole path",
                crate::text::name(program)
            ),
        }
    }
}
