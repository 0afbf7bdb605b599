//! The places that are searched for a token, one after the other.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use secrecy::zeroize::Zeroizing;

use super::file::{self, TokenFileTrust};
use super::{Error, LOGIN, Token, TokenOrigin, is_github, nix};
use crate::settings::{Env, Repo, Settings};
use crate::vetted::{TrustedFile, Untrusted, UntrustedReason};

/// What a token is searched with.
#[derive(Debug, Clone)]
pub struct TokenSearch<'a> {
    /// The host of the repository, or of `api_url`.
    pub host: String,
    /// Whether `api_url` marks this host as a GitHub Enterprise.
    pub enterprise: bool,
    /// The setting `token_file`.
    pub token_file: Option<&'a Path>,
    /// The environment.
    pub env: &'a Env,
    /// The root directory, `/` but in tests.
    pub root: &'a Path,
}

impl<'a> TokenSearch<'a> {
    /// For the host of the settings' repository; `None` where it is not read over HTTP, or none is set.
    #[must_use]
    pub fn of(settings: &'a Settings, env: &'a Env) -> Option<Self> {
        let api_url = settings.api_url.as_deref();
        let repo = settings.repo.as_ref()?;
        let is_github = matches!(repo, Repo::GitHub { .. });
        Some(Self {
            enterprise: is_github && api_url.is_some(),
            token_file: settings.token_file.as_deref(),
            ..Self::new(&repo.web_host(api_url)?, env)
        })
    }

    /// For a host, in this system.
    #[must_use]
    pub fn new(host: &str, env: &'a Env) -> Self {
        Self {
            host: host.to_ascii_lowercase(),
            enterprise: false,
            token_file: None,
            env,
            root: Path::new("/"),
        }
    }

    /// The host's token, if any place has one.
    pub fn run(&self) -> Result<Option<Token>, Error> {
        type TokenLookup<'a> = fn(&TokenSearch<'a>) -> Result<Option<Token>, Error>;
        let places: [TokenLookup<'a>; 6] = [
            Self::in_token_file,
            Self::in_credentials,
            Self::in_environment,
            Self::in_home,
            Self::in_nix,
            Self::in_netrc,
        ];
        for place in places {
            if let Some(token) = place(self)? {
                token.keep();
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    fn token(&self, secret: SecretString, origin: TokenOrigin) -> Token {
        Token {
            secret,
            login: LOGIN.to_owned(),
            origin,
            host: self.host.clone(),
        }
    }

    fn in_file(&self, path: &Path, trust: TokenFileTrust) -> Result<Option<Token>, Error> {
        let Some(content) = file::read(path, trust)? else {
            return Ok(None);
        };
        let origin = TokenOrigin::File(path.to_owned());
        let secret = file::token(&content, &origin)?;
        Ok(Some(self.token(secret, origin)))
    }

    fn in_token_file(&self) -> Result<Option<Token>, Error> {
        let Some(path) = self.token_file else {
            return Ok(None);
        };
        let token = self.in_file(path, TokenFileTrust::Private { also: None })?;
        let missing = || Untrusted {
            file: TrustedFile::Token,
            path: path.to_owned(),
            refusal: UntrustedReason::Absent,
        };
        Ok(Some(token.ok_or_else(missing)?))
    }

    fn in_credentials(&self) -> Result<Option<Token>, Error> {
        let Some(directory) = self.env.path("CREDENTIALS_DIRECTORY") else {
            return Ok(None);
        };
        self.in_file(&directory.join("token"), TokenFileTrust::Credential)
    }

    fn in_environment(&self) -> Result<Option<Token>, Error> {
        let host = &self.host;
        let named_by_gh = || {
            self.env
                .get("GH_HOST")
                .is_some_and(|name| name.eq_ignore_ascii_case(host))
        };
        let variables: &[&'static str] = if is_github(host) {
            &["GITHUB_TOKEN", "GH_TOKEN"]
        } else if self.enterprise || named_by_gh() {
            &["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"]
        } else {
            &[]
        };
        for &name in variables {
            if let Some(value) = self.env.get(name) {
                let origin = TokenOrigin::Variable(name);
                let secret = file::token(value.as_encoded_bytes(), &origin)?;
                return Ok(Some(self.token(secret, origin)));
            }
        }
        Ok(None)
    }

    fn in_home(&self) -> Result<Option<Token>, Error> {
        if !is_github(&self.host) {
            return Ok(None);
        }
        if let Some(config) = self.user_config() {
            let token = self.in_file(
                &config.join("github/token"),
                TokenFileTrust::Private { also: None },
            )?;
            if token.is_some() {
                return Ok(token);
            }
        }
        let Some((home, uid)) = self.caller() else {
            return Ok(None);
        };
        self.in_file(
            &home.join(".config/github/token"),
            TokenFileTrust::Private { also: Some(uid) },
        )
    }

    fn in_nix(&self) -> Result<Option<Token>, Error> {
        let host = &self.host;
        let found = match self.env.get("NIX_CONFIG") {
            Some(config) => nix::in_text(config.as_encoded_bytes(), host)
                .map(|found| (found, "NIX_CONFIG".into())),
            None => None,
        };
        let found = match found {
            Some(found) => Some(found),
            None => nix::in_files(&self.nix_files(), host)?,
        };
        let Some((entry, place)) = found else {
            return Ok(None);
        };
        let origin = TokenOrigin::Nix(place);
        let secret = file::token(entry.secret.as_bytes(), &origin)?;
        let login = entry.login.unwrap_or(LOGIN).to_owned();
        Ok(Some(Token {
            login,
            ..self.token(secret, origin)
        }))
    }

    fn in_netrc(&self) -> Result<Option<Token>, Error> {
        let host = &self.host;
        let own = self.env.path("NETRC").map(Path::to_owned);
        let places = [
            own,
            self.env.home().map(|home| home.join(".netrc")),
            Some(self.root.join("etc/nix/netrc")),
        ];
        for path in places.into_iter().flatten() {
            let Some(content) = file::read(&path, TokenFileTrust::Anyone)? else {
                continue;
            };
            let api = is_github(host).then(|| format!("api.{host}"));
            let names = [Some(host.as_str()), api.as_deref()];
            let Some(entry) = names
                .into_iter()
                .flatten()
                .find_map(|name| find_in_netrc(&content, name))
            else {
                continue;
            };
            // Only a file that is used has to be kept private; it may serve other programs.
            file::read(&path, TokenFileTrust::Private { also: None })?;
            let origin = TokenOrigin::Netrc(path);
            let secret = file::token(entry.password.as_bytes(), &origin)?;
            let login = entry.login.unwrap_or_else(|| LOGIN.to_owned());
            return Ok(Some(Token {
                login,
                ..self.token(secret, origin)
            }));
        }
        Ok(None)
    }

    fn user_config(&self) -> Option<PathBuf> {
        let named = self.env.path("XDG_CONFIG_HOME").map(Path::to_owned);
        named.or_else(|| Some(self.env.home()?.join(".config")))
    }

    /// Where Nix reads its settings, the strongest first.
    fn nix_files(&self) -> Vec<PathBuf> {
        let mut files = match self.env.get("NIX_USER_CONF_FILES") {
            Some(list) => std::env::split_paths(list).collect(),
            None => self
                .user_config()
                .map(|config| config.join("nix/nix.conf"))
                .into_iter()
                .collect::<Vec<_>>(),
        };
        let system = self.env.path("NIX_CONF_DIR").map(Path::to_owned);
        files.push(
            system
                .unwrap_or_else(|| self.root.join("etc/nix"))
                .join("nix.conf"),
        );
        files
    }

    /// Home and id of the user who called `sudo`.
    fn caller(&self) -> Option<(PathBuf, u32)> {
        let uid = self.env.caller()?;
        let name = self.env.get("SUDO_USER")?.to_str()?;
        let passwd = file::read(&self.root.join("etc/passwd"), TokenFileTrust::Anyone).ok()??;
        let passwd = std::str::from_utf8(&passwd).ok()?;
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let known = fields.next()? == name && fields.nth(1)?.parse() == Ok(uid);
            let home = Path::new(fields.nth(2)?);
            (known && home.is_absolute()).then(|| (home.to_owned(), uid))
        })
    }
}

/// A machine's entry in a netrc file.
struct NetrcEntry {
    login: Option<String>,
    password: Zeroizing<String>,
}

/// The entry of exactly this machine in a netrc file: `machine HOST login NAME password SECRET`, words in any order and
/// on any lines. `default` is not used: it would send the password to any host.
fn find_in_netrc(content: &[u8], machine: &str) -> Option<NetrcEntry> {
    let text = std::str::from_utf8(content).ok()?;
    // A macro runs to the next empty line and may hold any word.
    let mut in_macro = false;
    let lines = text.lines().filter(|line| {
        in_macro = (in_macro || line.trim_start().starts_with("macdef")) && !line.trim().is_empty();
        !in_macro && !line.trim_start().starts_with('#')
    });
    let mut words = lines.flat_map(str::split_ascii_whitespace);
    let mut ours = false;
    let (mut login, mut password) = (None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if ours {
                    break;
                }
                ours = word == "machine" && words.next()?.eq_ignore_ascii_case(machine);
            }
            "login" if ours => login = words.next().map(str::to_owned),
            "password" if ours => password = words.next().map(str::to_owned),
            "login" | "password" | "account" => {
                words.next();
            }
            _ => {}
        }
    }
    password.map(|password| NetrcEntry {
        login,
        password: Zeroizing::new(password),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_speaks_for_its_own_kind_of_host() {
        let env = Env::empty()
            .with("GITHUB_TOKEN", "")
            .with("GH_TOKEN", " hub \r\n")
            .with("GH_ENTERPRISE_TOKEN", "enterprise");
        let found = |host, enterprise| {
            let search = TokenSearch {
                enterprise,
                root: Path::new("/nonexistent"),
                ..TokenSearch::new(host, &env)
            };
            search
                .run()
                .unwrap()
                .map(|token| token.origin().to_string())
        };
        assert_eq!(
            found("github.com", false).unwrap(),
            "the token in `GH_TOKEN`"
        );
        assert_eq!(
            found("acme.ghe.com", true).unwrap(),
            "the token in `GH_TOKEN`"
        );
        assert_eq!(
            found("git.example.org", true).unwrap(),
            "the token in `GH_ENTERPRISE_TOKEN`"
        );
        assert_eq!(found("git.example.org", false), None);
        assert_eq!(found("gitlab.com", false), None);
    }

    fn netrc(text: &str, machine: &str) -> Option<(Option<String>, String)> {
        find_in_netrc(text.as_bytes(), machine)
            .map(|entry| (entry.login, entry.password.to_string()))
    }

    #[test]
    fn a_netrc_entry_is_found_by_the_whole_host_name() {
        let text = "# machine github.com password commented\n\
            machine other.example login a password wrong\n\
            macdef init\nmachine github.com password macro\n\n\
            machine github.com\n  login me\n  password right\n\
            machine github.com login you password second\n\
            default login any password anyone\n";
        assert_eq!(
            netrc(text, "github.com"),
            Some((Some("me".into()), "right".into()))
        );
        assert_eq!(
            netrc(text, "other.example"),
            Some((Some("a".into()), "wrong".into()))
        );
        assert_eq!(netrc(text, "api.github.com"), None, "`default` is nobody's");
        assert_eq!(
            netrc("machine h password only", "h"),
            Some((None, "only".into()))
        );
        assert_eq!(netrc("machine h login password password", "h"), None);
        assert_eq!(netrc("machine", "h"), None);
        assert_eq!(netrc("", "h"), None);
    }
}
