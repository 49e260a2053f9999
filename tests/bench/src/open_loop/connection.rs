//! A connection that is kept, with as little client in it as HTTP/1.1 allows: what is timed is the server.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The largest answer that is expected.
const MAX_ANSWER: usize = 64 << 10;

pub(crate) struct Connection {
    stream: TcpStream,
    head: String,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str, authorization: Option<&str>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        let mut head = format!("POST /api/v1/conversions HTTP/1.1\r\nhost: {address}\r\n");
        if let Some(value) = authorization {
            write!(head, "authorization: {value}\r\n")?;
        }
        Ok(Self { stream, head, answer: Vec::new() })
    }

    /// Posts an event and reads the whole answer. Returns its status.
    pub(crate) async fn post(&mut self, event: &str) -> anyhow::Result<u16> {
        let head = &self.head;
        let length = event.len();
        let request = format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{event}");
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        loop {
            let count = self.stream.read_buf(&mut self.answer).await?;
            ensure!(count > 0 && self.answer.len() <= MAX_ANSWER, "the server hung up");
            if let Some(status) = whole(&self.answer)? {
                return Ok(status);
            }
        }
    }
}

/// The status of the answer, once it is there to its end.
fn whole(answer: &[u8]) -> anyhow::Result<Option<u16>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    let status = head.split(' ').nth(1).context("the answer has no status")?.parse()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.context("the answer has no length")??;
    Ok((answer.len() >= end + 4 + length).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 401 Unauthorized\r\nX: y\r\nContent-Length: 3\r\n\r\nno\n";
        for end in 0..answer.len() {
            assert_eq!(whole(&answer[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(whole(answer).unwrap(), Some(401));
    }
}
