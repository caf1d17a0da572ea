//! The same PHP as an ordinary process, by CGI.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::answer::{Asked, HOST, Page, split};

/// A tree, and the PHP that answers from it.
pub(super) struct Native {
    pub(super) program: PathBuf,
    pub(super) root: PathBuf,
    pub(super) environment: &'static [(&'static str, &'static str)],
}

impl Native {
    /// The answer of a process of its own, with the variables that `zapp serve` gives.
    pub(super) fn page(&self, asked: &Asked, server: SocketAddr) -> Page {
        let path = asked.uri.split('?').next().unwrap_or_default();
        let query = asked.uri.split_once('?').map_or("", |(_, query)| query);
        let is_script = path.ends_with(".php") && self.root.join(&path[1..]).is_file();
        let script = if is_script { path } else { "/index.php" };
        let file = self.root.join(&script[1..]);
        let mut command = Command::new(&self.program);
        command
            .args(["--web"])
            .env_clear()
            .envs(self.environment.iter().copied())
            .env("GATEWAY_INTERFACE", "CGI/1.1")
            .env(
                "SERVER_SOFTWARE",
                concat!("zapp/", env!("CARGO_PKG_VERSION")),
            )
            .env("SERVER_PROTOCOL", "HTTP/1.1")
            .env("SERVER_NAME", HOST)
            .env("SERVER_ADDR", server.ip().to_string())
            .env("SERVER_PORT", "80")
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("REMOTE_PORT", "50000")
            .env("REQUEST_SCHEME", "http")
            .env("REQUEST_METHOD", asked.method)
            .env("REQUEST_URI", &asked.uri)
            .env("QUERY_STRING", query)
            .env("DOCUMENT_ROOT", &self.root)
            .env("SCRIPT_NAME", script)
            .env("SCRIPT_FILENAME", &file)
            .env("HTTP_HOST", HOST)
            .env("HTTP_X_REQUEST_ID", "native");
        for (name, value) in asked.headers() {
            let name = name.to_ascii_uppercase().replace('-', "_");
            command.env(format!("HTTP_{name}"), value);
        }
        if let Some(form) = asked.form {
            command.env("CONTENT_TYPE", "application/x-www-form-urlencoded");
            command.env("CONTENT_LENGTH", form.len().to_string());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the native PHP starts");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        stdin
            .write_all(asked.form.unwrap_or_default().as_bytes())
            .expect("a form fits the pipe");
        drop(stdin);
        let output = child.wait_with_output().expect("the child is ours");
        assert!(output.status.success(), "{asked}: {:?}", output.status);
        let (head, body) = split(&output.stdout);
        let status = head.strip_prefix("Status: ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| digits.parse().ok());
        Page::new(status.expect("a status"), &head, body)
    }
}
