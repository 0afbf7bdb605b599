//! The lower bound of an update: one request for the name and one for the pack, whose bytes are discarded.
//!
//! No program that uses version 2 of git's protocol over a new connection can be faster. It runs in a process of its
//! own, as the others.

use std::{fs, path::Path, process::Command};

use reqwest::{Certificate, Client, header};

/// The file in which the last run has left the commit that it fetched.
const LAST: &str = "bare-last";

/// The command that sends the requests; with `check` only the name is asked for.
pub fn command(url: &str, ca_file: &Path, directory: &Path, check: bool) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg("--bare")
        .arg(url)
        .arg(ca_file)
        .arg(directory.join(LAST));
    if check {
        command.arg("check");
    }
    command
}

/// Sends the requests, in the process of that command.
pub fn run(arguments: &[String]) {
    let [url, ca_file, last, check @ ..] = arguments else {
        panic!("--bare URL CA LAST [check]");
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = Certificate::from_pem(&fs::read(ca_file).unwrap()).unwrap();
    let client = Client::builder()
        .tls_certs_only([certificate])
        .no_proxy()
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listed = post(
            &client,
            url,
            &[
                "command=ls-refs\n",
                "",
                "peel\n",
                "ref-prefix refs/heads/main\n",
            ],
        )
        .await;
        let tip = String::from_utf8_lossy(&listed[4..44]).into_owned();
        if check.is_empty() {
            let known = fs::read_to_string(last).unwrap_or_default();
            let [want, have, shallow] = [("want", &tip), ("have", &known), ("shallow", &known)]
                .map(|(word, id)| format!("{word} {id}\n"));
            let mut lines = vec!["command=fetch\n", "", "ofs-delta\n", "no-progress\n"];
            if known.is_empty() {
                lines.extend(["deepen 1\n", &want, "done\n"]);
            } else {
                lines.extend(["thin-pack\n", &shallow, "deepen 1\n", &want, &have]);
            }
            post(&client, url, &lines).await;
            fs::write(last, tip).unwrap();
        }
    });
    runtime.shutdown_background();
}

/// Sends packets, an empty one standing for the delimiter, and reads the answer to its end.
async fn post(client: &Client, url: &str, lines: &[&str]) -> Vec<u8> {
    let packet = |line: &&str| match line.len() {
        0 => "0001".to_owned(),
        length => format!("{:04x}{line}", length + 4),
    };
    let body: String = lines
        .iter()
        .map(packet)
        .chain(["0000".to_owned()])
        .collect();
    let request = client
        .post(format!("{url}/git-upload-pack"))
        .header(
            header::CONTENT_TYPE,
            "application/x-git-upload-pack-request",
        )
        // A host answers the endpoints of git to git alone.
        .header(header::USER_AGENT, "git/bare")
        .header("git-protocol", "version=2")
        .body(body);
    let answer = request.send().await.unwrap().error_for_status().unwrap();
    answer.bytes().await.unwrap().to_vec()
}
