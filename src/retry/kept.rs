//! An answer as it is written before it is sealed.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use serde::{Deserialize, Serialize};

use super::recording::Head;

/// Of what is written. Another is not read: an answer that cannot be read is one that is gone.
const VERSION: u8 = 1;

/// An answer.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    version: u8,
    /// The request that it was first given to.
    #[serde(borrow)]
    request_id: &'a str,
    status: u16,
    #[serde(borrow)]
    fields: Vec<Field<'a>>,
    length: Option<u64>,
    #[serde(borrow)]
    frames: Vec<Piece<'a>>,
}

type Field<'a> = (&'a str, &'a [u8]);

#[derive(Serialize, Deserialize)]
enum Piece<'a> {
    Data(&'a [u8]),
    #[serde(borrow)]
    Trailers(Vec<Field<'a>>),
}

/// An answer that was written, and the request that it was first given to.
pub(super) struct Kept {
    pub(super) request_id: String,
    pub(super) head: Head,
    pub(super) frames: Vec<Frame<Bytes>>,
}

/// Writes an answer.
pub(super) fn write(request_id: &str, head: &Head, frames: &[Frame<Bytes>]) -> Option<Vec<u8>> {
    let frames = frames.iter().map(|frame| match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Piece::Data(data),
        (None, trailers) => Piece::Trailers(trailers.map(fields).unwrap_or_default()),
    });
    let written = Written {
        version: VERSION,
        request_id,
        status: head.status.as_u16(),
        fields: fields(&head.headers),
        length: head.length,
        frames: frames.collect(),
    };
    postcard::to_stdvec(&written).ok()
}

/// Reads an answer that was written.
pub(super) fn read(bytes: &[u8]) -> Option<Kept> {
    let written: Written<'_> = postcard::from_bytes(bytes).ok()?;
    if written.version != VERSION {
        return None;
    }
    let frames = written.frames.iter().map(|piece| {
        Some(match piece {
            Piece::Data(data) => Frame::data(Bytes::copy_from_slice(data)),
            Piece::Trailers(trailers) => Frame::trailers(headers(trailers)?),
        })
    });
    Some(Kept {
        request_id: written.request_id.to_owned(),
        frames: frames.collect::<Option<_>>()?,
        head: Head {
            status: StatusCode::from_u16(written.status).ok()?,
            headers: headers(&written.fields)?,
            length: written.length,
        },
    })
}

fn fields(headers: &HeaderMap) -> Vec<Field<'_>> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn headers(fields: &[Field<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}
