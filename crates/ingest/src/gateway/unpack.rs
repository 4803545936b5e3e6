//! A request's body as it was before its sender packed it, under an absolute limit and one of proportion.
//!
//! Invariant: no more than the limit and one read is ever in memory, whatever the body claims.

use std::io::Read;

use bytes::Bytes;

use super::GatewayError;

/// How many times its size a body may become, beyond [`FREE_BYTES`].
const RATIO_MAX: usize = 200;
/// Up to so many unpacked bytes no proportion counts.
const FREE_BYTES: usize = 1 << 20;
/// How large a window Zstandard may ask for, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;
const READ_BYTES: usize = 64 << 10;

/// How a body is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstandard,
}

/// Unpacks a body.
pub(super) fn unpacked(body: Bytes, packing: Packing, bytes_max: usize) -> Result<Bytes, GatewayError> {
    let too_large = || GatewayError::TooLarge(format!("the body has more than {bytes_max} bytes; send it in parts"));
    let came = body.len();
    let (form, reader): (_, Box<dyn Read>) = match packing {
        Packing::None if came > bytes_max => return Err(too_large()),
        Packing::None => return Ok(body),
        Packing::Gzip => ("gzip", Box::new(flate2::bufread::MultiGzDecoder::new(&*body))),
        Packing::Zstandard => {
            let broken = |_| GatewayError::Packing { form: "zstd" };
            let mut decoder = zstd::Decoder::with_buffer(&*body).map_err(broken)?;
            decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
            ("zstd", Box::new(decoder))
        }
    };
    let mut out = Vec::with_capacity(came.saturating_mul(4).min(bytes_max));
    let mut reader = reader;
    loop {
        let read = reader.by_ref().take(READ_BYTES as u64).read_to_end(&mut out);
        match read.map_err(|_| GatewayError::Packing { form })? {
            0 => return Ok(out.into()),
            _ if out.len() > bytes_max => return Err(too_large()),
            _ if out.len() > FREE_BYTES && out.len() / RATIO_MAX > came => {
                let message = format!(
                    "the body becomes more than {RATIO_MAX} times as large when it is unpacked; send it unpacked"
                );
                return Err(GatewayError::TooLarge(message));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use super::*;

    const MAX: usize = 4 << 20;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn what_was_packed_is_unpacked_and_a_bomb_or_a_torn_body_is_refused() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        type Pack = fn(&[u8]) -> Bytes;
        let pack: [(Packing, Pack); 2] =
            [(Packing::Gzip, gzip), (Packing::Zstandard, |bytes| zstd::encode_all(bytes, 3).unwrap().into())];
        for (packing, pack) in pack {
            let packed = pack(&text);
            assert_eq!(unpacked(packed.clone(), packing, MAX).unwrap(), text);
            let torn = packed.slice(..packed.len() - 9);
            assert!(matches!(unpacked(torn, packing, MAX), Err(GatewayError::Packing { .. })), "{packing:?}");
            let junk = Bytes::from_static(b"{}");
            assert!(matches!(unpacked(junk, packing, MAX), Err(GatewayError::Packing { .. })), "{packing:?}");
            // Beyond the proportion, and beyond the limit.
            for zeros in [3 << 20, 8 << 20] {
                let bomb = pack(&vec![0; zeros]);
                assert!(matches!(unpacked(bomb, packing, MAX), Err(GatewayError::TooLarge(_))), "{packing:?} {zeros}");
            }
        }
        assert!(matches!(unpacked(vec![0; MAX + 1].into(), Packing::None, MAX), Err(GatewayError::TooLarge(_))));
    }
}
