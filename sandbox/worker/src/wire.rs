//! What front process and worker say to each other over their socket pair.
//!
//! ```text
//! frame:    u32 length of what follows   u8 kind   u64 id   payload
//! Setup     JSON; the image's descriptor comes beside the first byte (SCM_RIGHTS), and one for the snapshot if it is wanted
//! Ready     text: where the snapshot is from            Failed   text
//! Ask       u32 count, pairs; the rest is the request's body
//! Cancel    empty
//! Answer    u8 ending  u16 status  u32 dropped headers  10 x u64 cost  u32 count, pairs
//!           u32 length, error output   u64 length of the whole body   its first piece
//! More      the next piece of the body
//! Begun     u16 status  u32 dropped headers  u32 count, pairs   the first piece of a body whose guest goes on
//! Part      the next piece of it                Taken   empty: there is room for another
//! pair:     u32 length of name   u32 length of value   name   value
//! ```
//!
//! All numbers are little-endian. The front treats a worker's frames as hostile: lengths are bounded before anything is
//! kept, and a frame that does not fit the state of its request ends the worker. Each Ask is answered once, a cancelled
//! one too, and one that has begun: its Answer has the rest of the body. Between the frames of one answer stand at most whole ones of other requests, so the front holds one unfinished
//! answer of each worker and no more.

use bytes::Bytes;
use sandbox::Response;

use crate::answer::{Answer, Cost, Ending};
use crate::setup::Pairs;

/// Bytes of a frame before its payload.
pub(crate) const HEAD: usize = 4 + 1 + 8;

/// Body bytes in one frame, so that a large answer does not hold up the others.
pub(crate) const PIECE: usize = 256 * 1024;

/// Error output of one request that is passed on.
pub(crate) const STDERR_MAX: usize = 64 * 1024;

/// Headers of an answer: as many as a guest may set. An empty pair is 48 bytes here and 8 on the wire.
const ANSWER_PAIRS_MAX: u32 = 128;

/// The largest payload a worker may send: a piece, headers, error output, and some room.
pub(crate) const WORKER_PAYLOAD_MAX: usize = PIECE + STDERR_MAX + 512 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Setup = 1,
    Ready = 2,
    Failed = 3,
    Ask = 4,
    Cancel = 5,
    Answer = 6,
    More = 7,
    Begun = 8,
    Part = 9,
    Taken = 10,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        use Kind::{Answer, Ask, Begun, Cancel, Failed, More, Part, Ready, Setup, Taken};
        [
            Setup, Ready, Failed, Ask, Cancel, Answer, More, Begun, Part, Taken,
        ]
        .into_iter()
        .find(|k| *k as u8 == byte)
    }
}

/// A frame that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame")]
pub(crate) struct Malformed;

/// The first bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    /// Length of the payload.
    pub(crate) len: usize,
}

impl Head {
    /// Reads a head; a payload longer than `max` is malformed.
    pub(crate) fn parse(bytes: [u8; HEAD], max: usize) -> Result<Head, Malformed> {
        let mut reader = Reader(&bytes);
        let len = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
        let len = len
            .checked_sub(HEAD - 4)
            .filter(|&len| len <= max)
            .ok_or(Malformed)?;
        let kind = Kind::of(reader.bytes(1)?[0]).ok_or(Malformed)?;
        Ok(Head {
            kind,
            id: reader.u64()?,
            len,
        })
    }
}

/// Puts a frame together.
pub(crate) fn frame(kind: Kind, id: u64, payload: &[&[u8]]) -> Vec<u8> {
    let len: usize = payload.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(HEAD + len);
    put_u32(&mut frame, HEAD - 4 + len);
    frame.push(kind as u8);
    frame.extend_from_slice(&id.to_le_bytes());
    for part in payload {
        frame.extend_from_slice(part);
    }
    frame
}

/// The frame of a request.
pub(crate) fn ask(id: u64, variables: &Pairs, body: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    put_pairs(&mut head, variables);
    frame(Kind::Ask, id, &[&head, body])
}

/// Reads the payload of a request: its variables and its body.
pub(crate) fn parse_ask(payload: &[u8]) -> Result<(Pairs, Vec<u8>), Malformed> {
    let mut reader = Reader(payload);
    let variables = reader.pairs(u32::MAX)?;
    Ok((variables, reader.0.to_vec()))
}

/// The frames of an answer.
pub(crate) fn answer(id: u64, answer: &Answer) -> Vec<Vec<u8>> {
    let mut head = vec![answer.ending as u8];
    head.extend_from_slice(&answer.status.to_le_bytes());
    head.extend_from_slice(&answer.dropped.to_le_bytes());
    for number in answer.cost.numbers() {
        head.extend_from_slice(&number.to_le_bytes());
    }
    put_pairs(&mut head, &answer.headers);
    let stderr = &answer.stderr[..answer.stderr.len().min(STDERR_MAX)];
    put_u32(&mut head, stderr.len());
    head.extend_from_slice(stderr);
    head.extend_from_slice(&(answer.body.len() as u64).to_le_bytes());
    let (first, rest) = answer.body.split_at(answer.body.len().min(PIECE));
    let mut frames = vec![frame(Kind::Answer, id, &[&head, first])];
    frames.extend(
        rest.chunks(PIECE)
            .map(|piece| frame(Kind::More, id, &[piece])),
    );
    frames
}

/// Reads the payload of an answer's first frame: the answer so far, and the length of its whole body.
pub(crate) fn parse_answer(payload: &Bytes) -> Result<(Answer, u64), Malformed> {
    let mut reader = Reader(payload);
    let ending = reader.bytes(1)?[0];
    let ending = *Ending::ALL.get(usize::from(ending)).ok_or(Malformed)?;
    let status = u16::from_le_bytes(reader.array()?);
    let dropped = reader.u32()?;
    let mut numbers = [0; 10];
    for number in &mut numbers {
        *number = reader.u64()?;
    }
    let headers = reader.pairs(ANSWER_PAIRS_MAX)?;
    let stderr_len = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
    let stderr = reader.bytes(stderr_len)?.to_vec();
    let total = reader.u64()?;
    let body = payload.slice(payload.len() - reader.0.len()..);
    if body.len() as u64 > total {
        return Err(Malformed);
    }
    let cost = Cost::of(numbers);
    Ok((
        Answer {
            ending,
            status,
            dropped,
            cost,
            headers,
            stderr,
            body,
        },
        total,
    ))
}

/// The frame that begins an answer whose guest goes on; `piece` is at most [`PIECE`].
pub(crate) fn begun(id: u64, response: &Response, piece: &[u8]) -> Vec<u8> {
    let mut head = response.status.to_le_bytes().to_vec();
    head.extend_from_slice(&response.dropped.to_le_bytes());
    put_u32(&mut head, response.headers.len());
    for (name, value) in &response.headers {
        put_pair(&mut head, name.as_bytes(), value);
    }
    frame(Kind::Begun, id, &[&head, piece])
}

/// The frame of the next piece of it.
pub(crate) fn part(id: u64, piece: &[u8]) -> Vec<u8> {
    frame(Kind::Part, id, &[piece])
}

/// The beginning of an answer.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) status: u16,
    pub(crate) dropped: u32,
    pub(crate) headers: Pairs,
    pub(crate) piece: Bytes,
}

/// Reads the payload of a beginning.
pub(crate) fn parse_begun(payload: &Bytes) -> Result<Begun, Malformed> {
    let mut reader = Reader(payload);
    let status = u16::from_le_bytes(reader.array()?);
    let dropped = reader.u32()?;
    let headers = reader.pairs(ANSWER_PAIRS_MAX)?;
    let piece = payload.slice(payload.len() - reader.0.len()..);
    if piece.len() > PIECE {
        return Err(Malformed);
    }
    Ok(Begun {
        status,
        dropped,
        headers,
        piece,
    })
}

fn put_u32(to: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("messages are bounded far below 4 GiB");
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_pairs(to: &mut Vec<u8>, pairs: &Pairs) {
    put_u32(to, pairs.len());
    for (name, value) in pairs {
        put_pair(to, name, value);
    }
}

fn put_pair(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put_u32(to, name.len());
    put_u32(to, value.len());
    to.extend_from_slice(name);
    to.extend_from_slice(value);
}

/// Reads numbers and bytes from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn pairs(&mut self, count_max: u32) -> Result<Pairs, Malformed> {
        let count = self.u32()?;
        if count > count_max {
            return Err(Malformed);
        }
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name_len = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
            let value_len = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
            pairs.push((
                self.bytes(name_len)?.to_vec(),
                self.bytes(value_len)?.to_vec(),
            ));
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(body: usize) -> Answer {
        Answer {
            ending: Ending::Answered,
            status: 200,
            dropped: 2,
            cost: Cost {
                cpu_ns: 7,
                files_opened: 9,
                ..Cost::default()
            },
            headers: vec![(b"content-type".to_vec(), b"text/html".to_vec())],
            stderr: b"note\n".to_vec(),
            body: (0..body)
                .map(|i| i.to_le_bytes()[0])
                .collect::<Vec<_>>()
                .into(),
        }
    }

    /// Puts frames together again as the front does.
    fn read(frames: &[Vec<u8>]) -> Result<Answer, Malformed> {
        let mut answer: Option<(Answer, u64)> = None;
        for frame in frames {
            let head = Head::parse(frame[..HEAD].try_into().unwrap(), WORKER_PAYLOAD_MAX)?;
            assert_eq!(head.len, frame.len() - HEAD);
            let payload = Bytes::copy_from_slice(&frame[HEAD..]);
            match (&mut answer, head.kind) {
                (None, Kind::Answer) => answer = Some(parse_answer(&payload)?),
                (Some((answer, _)), Kind::More) => {
                    answer.body = [answer.body.as_ref(), &payload].concat().into();
                }
                _ => return Err(Malformed),
            }
        }
        let (answer, total) = answer.ok_or(Malformed)?;
        assert_eq!(answer.body.len() as u64, total);
        Ok(answer)
    }

    #[test]
    fn answers_survive_the_way() {
        for size in [0, 1, PIECE, PIECE + 1, 3 * PIECE + 17] {
            let answer_sent = sample(size);
            assert_eq!(
                read(&answer(5, &answer_sent)).unwrap(),
                answer_sent,
                "{size}"
            );
        }
    }

    #[test]
    fn requests_survive_the_way() {
        let variables = vec![
            (b"A".to_vec(), b"1".to_vec()),
            (Vec::new(), b"\0\xff".to_vec()),
        ];
        let frame = ask(1, &variables, b"body");
        assert_eq!(
            parse_ask(&frame[HEAD..]).unwrap(),
            (variables, b"body".to_vec())
        );
    }

    #[test]
    fn every_cut_of_an_answer_is_malformed_or_short() {
        let whole = answer(5, &sample(10)).remove(0);
        for end in 0..whole.len() - HEAD - 10 {
            let payload = Bytes::copy_from_slice(&whole[HEAD..HEAD + end]);
            assert_eq!(parse_answer(&payload).map(|_| ()), Err(Malformed), "{end}");
        }
    }

    #[test]
    fn oversized_and_unknown_frames_are_malformed() {
        let mut head: [u8; HEAD] = frame(Kind::More, 1, &[b"xyz"])[..HEAD].try_into().unwrap();
        assert!(Head::parse(head, 3).is_ok());
        assert_eq!(Head::parse(head, 2), Err(Malformed));
        head[4] = 99;
        assert_eq!(Head::parse(head, 3), Err(Malformed));
        assert_eq!(Head::parse([0; HEAD], 3), Err(Malformed));
        // A count of pairs far beyond the payload must not allocate for them.
        let mut payload = vec![0; 7 + 64];
        payload.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(parse_answer(&payload.into()).map(|_| ()), Err(Malformed));
    }
}
