//! Calls of a node's RPC on loopback.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::patience::Patience;

/// Time for one answer. The longest on a recorded chain take milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// More than any answer about a recorded chain, so that a wrong server on the port fills no memory.
const LONGEST: u64 = 64 << 20;

/// The RPC of one node.
#[derive(Debug)]
pub(super) struct Rpc {
    /// The node's own directory: its cookie lies below it.
    pub(super) directory: PathBuf,
    pub(super) port: u16,
    /// The program `dash-cli`, where it is to be used in place of our own HTTP.
    pub(super) dash_cli: Option<PathBuf>,
    pub(super) patience: Patience,
}

impl Rpc {
    /// Calls a method. Arguments are strings: a node reads numbers and heights from strings as well.
    ///
    /// # Errors
    ///
    /// The node cannot be reached, does not answer in time, or answers with an error.
    pub(super) fn call(&self, method: &str, arguments: &[&str]) -> Result<Value> {
        let result = match &self.dash_cli {
            Some(dash_cli) => self.by_program(dash_cli, method, arguments),
            None => self.by_http(method, arguments),
        };
        result.with_context(|| format!("RPC {method} {}", arguments.join(" ")))
    }

    /// Calls a method that returns a string.
    pub(super) fn text(&self, method: &str, arguments: &[&str]) -> Result<String> {
        let value = self.call(method, arguments)?;
        value.as_str().map(str::to_owned).with_context(|| format!("RPC {method} returned {value}, not a string"))
    }

    fn by_program(&self, dash_cli: &Path, method: &str, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(dash_cli);
        command.arg("-regtest").arg(format!("-datadir={}", self.directory.display()));
        command.arg(format!("-rpcconnect={}", Ipv4Addr::LOCALHOST)).arg(format!("-rpcport={}", self.port));
        let output = self.patience.output(LIMIT, "dash-cli", command.arg(method).args(arguments))?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        // A string is printed without its quotes.
        let printed = String::from_utf8_lossy(&output.stdout);
        Ok(serde_json::from_str(&printed).unwrap_or_else(|_| printed.trim().into()))
    }

    fn by_http(&self, method: &str, arguments: &[&str]) -> Result<Value> {
        let cookie =
            fs::read_to_string(self.directory.join("regtest/.cookie")).context("the node has no cookie yet")?;
        let arguments: Vec<_> = arguments.iter().map(|argument| parameter(argument)).collect();
        let request = json!({ "id": 0, "method": method, "params": arguments }).to_string();
        let answer = post(self.port, cookie.trim(), &request)?;
        let mut answer: Value = serde_json::from_slice(&answer).context("the answer is no JSON")?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].take()),
            error => bail!("{}", error["message"].as_str().unwrap_or("an error without a message")),
        }
    }
}

/// Posts JSON to a port of loopback and returns the body of the answer.
fn post(port: u16, user: &str, body: &str) -> Result<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).context("cannot connect")?;
    stream
        .set_read_timeout(Some(LIMIT))
        .and(stream.set_write_timeout(Some(LIMIT)))
        .context("cannot set a time limit")?;
    // HTTP/1.0: the body ends with the connection, and comes in one piece.
    let head = format!(
        "POST / HTTP/1.0\r\nHost: {address}\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        base64(user.as_bytes()),
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).context("cannot ask")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).context("no whole answer")?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("the answer is not HTTP")?;
    let body = answer.split_off(end + 4);
    if body.is_empty() {
        bail!("{}", String::from_utf8_lossy(&answer).lines().next().unwrap_or_default());
    }
    Ok(body)
}

/// Base64 with padding (RFC 4648), as HTTP's basic authentication wants it.
fn parameter(argument: &str) -> Value {
    argument.parse::<u32>().map_or_else(|_| argument.into(), Value::from)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        let digits = (0..4).map(|i| char::from(DIGITS[bits >> (18 - 6 * i) & 63]));
        text.extend(digits.enumerate().map(|(i, digit)| if i <= chunk.len() { digit } else { '=' }));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// A server that answers one request with these bytes, and returns the request.
    fn serve(answer: &'static str) -> (u16, thread::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (port, server)
    }

    fn call(answer: &'static str) -> (Result<Value>, String) {
        let (port, server) = serve(answer);
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("regtest")).unwrap();
        fs::write(directory.path().join("regtest/.cookie"), "__cookie__:1f").unwrap();
        let rpc = Rpc { directory: directory.path().to_owned(), port, dash_cli: None, patience: Patience::default() };
        let result = rpc.call("protx", &["diff", "1", "2"]);
        (result, server.join().unwrap())
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_call_is_json_with_the_cookie_and_returns_the_result() {
        let (result, request) = call("HTTP/1.1 200 OK\r\n\r\n{\"result\":{\"a\":1},\"error\":null,\"id\":0}\n");
        assert_eq!(result.unwrap(), json!({ "a": 1 }));
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Authorization: Basic X19jb29raWVfXzoxZg==\r\n"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({ "id": 0, "method": "protx", "params": ["diff", 1, 2] }));
    }

    #[test]
    fn an_error_of_the_node_is_told_with_the_call() {
        let answer =
            "HTTP/1.1 500 Error\r\n\r\n{\"result\":null,\"error\":{\"code\":-8,\"message\":\"not found\"},\"id\":0}";
        let error = format!("{:#}", call(answer).0.unwrap_err());
        assert_eq!(error, "RPC protx diff 1 2: not found");
        let error = format!("{:#}", call("HTTP/1.1 401 Unauthorized\r\n\r\n").0.unwrap_err());
        assert_eq!(error, "RPC protx diff 1 2: HTTP/1.1 401 Unauthorized");
    }

    #[cfg(unix)]
    #[test]
    fn dash_cli_is_asked_where_it_is_given() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let dash_cli = directory.path().join("dash-cli");
        let script = "#!/bin/sh\ncase $5 in\nstop) echo stopping now;;\nquorum) echo \"[\\\"$6\\\", $7]\";;\n\
            *) echo \"error: $*\" >&2; exit 1;;\nesac\n";
        fs::write(&dash_cli, script).unwrap();
        fs::set_permissions(&dash_cli, fs::Permissions::from_mode(0o755)).unwrap();
        let rpc = Rpc {
            directory: directory.path().to_owned(),
            port: 7,
            dash_cli: Some(dash_cli),
            patience: Patience::default(),
        };
        assert_eq!(rpc.text("stop", &[]).unwrap(), "stopping now");
        assert_eq!(rpc.call("quorum", &["info", "103"]).unwrap(), json!(["info", 103]));
        let error = format!("{:#}", rpc.call("protx", &["diff"]).unwrap_err());
        let options = format!("-regtest -datadir={} -rpcconnect=127.0.0.1 -rpcport=7", rpc.directory.display());
        assert_eq!(error, format!("RPC protx diff: error: {options} protx diff"));
    }
}
