//! A request's body between the socket and the application.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};

/// A body as it gathers, and then as the application reads it: in memory while it is small, in
/// an unlinked file afterwards. An upload therefore costs a worker neither a thread nor, beyond
/// `request_buffer_size`, memory.
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    File(File),
    /// Several pieces, joined.
    Gathered(BytesMut),
    /// One piece, as it lay in the input buffer: the usual form post is never copied.
    Whole(Bytes),
}

impl Body {
    /// Takes one more piece.
    ///
    /// # Errors
    /// The temporary file cannot be made or written.
    pub(crate) fn push(
        &mut self,
        data: Bytes,
        limit_memory: usize,
        directory: Option<&Path>,
    ) -> io::Result<()> {
        if let Self::File(file) = self {
            return file.write_all(&data);
        }
        if self.len_in_memory() + data.len() > limit_memory {
            let mut file = unlinked_file(directory)?;
            file.write_all(self.in_memory())?;
            file.write_all(&data)?;
            *self = Self::File(file);
            return Ok(());
        }
        *self = match std::mem::take(self) {
            Self::Gathered(mut gathered) => {
                gathered.extend_from_slice(&data);
                Self::Gathered(gathered)
            }
            Self::Whole(first) => {
                let mut gathered = BytesMut::with_capacity(2 * (first.len() + data.len()));
                gathered.extend_from_slice(&first);
                gathered.extend_from_slice(&data);
                Self::Gathered(gathered)
            }
            Self::Empty | Self::File(_) => Self::Whole(data),
        };
        Ok(())
    }

    /// All pieces are here; reading starts at the first.
    ///
    /// # Errors
    /// The temporary file cannot be rewound.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.rewind(),
            Self::Empty | Self::Gathered(_) | Self::Whole(_) => Ok(()),
        }
    }

    fn in_memory(&self) -> &[u8] {
        match self {
            Self::Empty | Self::File(_) => &[],
            Self::Gathered(data) => data,
            Self::Whole(data) => data,
        }
    }

    fn len_in_memory(&self) -> usize {
        self.in_memory().len()
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Empty => Ok(0),
            Self::File(file) => file.read(buffer),
            Self::Gathered(data) => Ok(take(data, buffer)),
            Self::Whole(data) => Ok(take(data, buffer)),
        }
    }
}

fn take(data: &mut impl Buf, buffer: &mut [u8]) -> usize {
    let count = data.remaining().min(buffer.len());
    if let Some(buffer) = buffer.get_mut(..count) {
        data.copy_to_slice(buffer);
    }
    count
}

/// A file without a name: it is gone with its descriptor, however the worker ends.
fn unlinked_file(directory: Option<&Path>) -> io::Result<File> {
    match directory {
        Some(directory) => tempfile::tempfile_in(directory),
        None => tempfile::tempfile(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut body: Body) -> Vec<u8> {
        body.complete().unwrap();
        let mut all = Vec::new();
        body.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn reads_what_was_pushed_wherever_it_lay() {
        for limit in [0, 1, 4, 7, 100] {
            for pieces in [&[][..], &["abcd"], &["ab", "cdefg"], &["a", "b", "c", "d", "e"]] {
                let mut body = Body::default();
                for piece in pieces {
                    body.push(Bytes::from_static(piece.as_bytes()), limit, None).unwrap();
                }
                assert_eq!(read_all(body), pieces.concat().as_bytes(), "{limit} {pieces:?}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_by_the_limit() {
        let mut body = Body::default();
        for _ in 0..10 {
            body.push(Bytes::from_static(b"0123456789"), 25, None).unwrap();
            assert!(body.len_in_memory() <= 25);
        }
        assert!(matches!(body, Body::File(_)));
        assert_eq!(read_all(body).len(), 100);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let mut body = Body::default();
        let folder = Path::new("/nonexistent");
        assert!(body.push(Bytes::from_static(b"x"), 0, Some(folder)).is_err());
    }
}
