//! What a record is whose first bytes are no JSON: serializers, encodings and compression say so themselves.
//!
//! Invariant: a reason names the kind of bytes and what to do, never the bytes.

/// What some programs write before UTF-8. Stepped over, as RFC 8259 (8.1) allows a reader.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// First bytes, and what they say. The first that fits counts.
const KINDS: &[(&[u8], &str)] = &[
    (b"\0\0\xfe\xff", "it begins with the mark of UTF-32: send it in UTF-8"),
    (b"\xff\xfe", "it begins with the mark of UTF-16: send it in UTF-8"),
    (b"\xfe\xff", "it begins with the mark of UTF-16: send it in UTF-8"),
    (b"{\0", "it is UTF-16: send it in UTF-8"),
    (b"\0{", "it is UTF-16: send it in UTF-8"),
    (b"\x1f\x8b", "it is gzip: let the producer compress (compression.type), not the application"),
    (b"\x28\xb5\x2f\xfd", "it is zstd: let the producer compress (compression.type), not the application"),
    (b"\x04\x22\x4d\x18", "it is LZ4: let the producer compress (compression.type), not the application"),
    (b"Obj\x01", "it is an Avro file: send JSON"),
    (b"\xac\xed\0\x05", "it is a serialized Java object: send JSON"),
];

/// A schema registry's serializers write a zero and the schema's id in four bytes before a record.
const REGISTRY_FRAME_BYTES: usize = 5;
/// AWS Glue's write a 3, how they compressed, and the schema version's UUID.
const GLUE_FRAME_BYTES: usize = 18;

/// Why a record that is no JSON object is none, where its first bytes tell.
#[cold]
pub(super) fn not_json(bytes: &[u8]) -> Option<String> {
    let kind = KINDS.iter().find(|(first, _)| bytes.starts_with(first)).map(|(_, kind)| *kind);
    let kind = kind.or(match bytes {
        [0, ..] if bytes.len() >= REGISTRY_FRAME_BYTES => Some(
            "it begins with the five bytes of a schema registry (a zero and a schema id), and no registry is asked \
             here: send plain JSON, without the registry's serializer",
        ),
        [3, 0 | 5, ..] if bytes.len() >= GLUE_FRAME_BYTES => Some(
            "it begins with the frame of the AWS Glue schema registry, and no registry is asked here: send plain \
             JSON, without the registry's serializer",
        ),
        [0, ..] => Some("it begins with a zero byte"),
        _ => None,
    });
    kind.map(|kind| format!("not one JSON object: {kind}"))
}
