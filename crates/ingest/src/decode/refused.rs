//! Why a delivered file is refused as a whole, in sentences that say what to do.
//!
//! Invariant: names of columns are shown, values of records never.

use super::DecodeError;
use super::open::Spoilt;

/// Why a whole delivery is refused. Names of columns are shown, values never.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The file could not be read.
    #[error(
        "the delivery of {dataset} did not come to its end: it could not be read past byte {position}; nothing of it was loaded, deliver it again"
    )]
    Read {
        /// The dataset.
        dataset: String,
        /// How many bytes had been read.
        position: u64,
        /// The reader's error.
        #[source]
        source: std::io::Error,
    },
    /// A file that is read from its end has no room on the disk.
    #[error(
        "the delivery of {dataset} could not be put aside, as a file must be whose index is at its end: make room in the folder for temporary files (TMPDIR) and deliver it again"
    )]
    NoRoom {
        /// The dataset.
        dataset: String,
        /// The disk's error.
        #[source]
        source: std::io::Error,
    },
    /// A typed file whose rows cannot be read.
    #[error("the delivery of {dataset} is {form} that cannot be read {place}: {what}; nothing of it was loaded")]
    Typed {
        /// The dataset.
        dataset: String,
        /// The form.
        form: &'static str,
        /// Where in the file.
        place: String,
        /// What is wrong there.
        what: &'static str,
        /// What the reader said, which may quote the file.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It is neither CSV nor JSON in UTF-8.
    #[error("the delivery of {dataset} is {what}")]
    OtherForm {
        /// The dataset.
        dataset: String,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// Another form than the resources that the contract's view reads.
    #[error(
        "the delivery of {dataset} is no JSON, and the dataset is read through the view {view}: deliver FHIR resources as NDJSON, a Bundle or a single resource"
    )]
    NotFhir {
        /// The dataset.
        dataset: String,
        /// The view.
        view: String,
    },
    /// There is no header.
    #[error(
        "the delivery of {dataset} has no header line with the contract's columns; write their names, in UTF-8 and \
         separated by commas, into its first line: {names}"
    )]
    NoHeader {
        /// The dataset.
        dataset: String,
        /// The contract's names.
        names: String,
    },
    /// The header is not UTF-8.
    #[error(
        "the header of the delivery of {dataset} is not UTF-8 at its byte {byte}: save the file as UTF-8, or say its `encoding` in the contract (customProperty csv)"
    )]
    HeaderNotUtf8 {
        /// The dataset.
        dataset: String,
        /// The first byte that is not, from 0.
        byte: usize,
    },
    /// The header has more cells than any file should.
    #[error("the header of the delivery of {dataset} has more than {columns_max} columns: are the line ends right?")]
    TooManyColumns {
        /// The dataset.
        dataset: String,
        /// The limit.
        columns_max: usize,
    },
    /// JSON was delivered as CSV.
    #[error("the delivery of {dataset} looks like JSON and is read as CSV: deliver it as JSON (--format json)")]
    LooksLikeJson {
        /// The dataset.
        dataset: String,
    },
    /// A required column is not in the header.
    #[error(
        "the delivery of {dataset} has no column {name:?}, which the contract requires for {column}{nearest}; its header{place} is: {header}"
    )]
    ColumnMissing {
        /// The dataset.
        dataset: String,
        /// The contract's column.
        column: String,
        /// The name that the header should have.
        name: String,
        /// The name that may be meant, in words; empty when none is near.
        nearest: String,
        /// Where the header stands, in words; empty where there is no line of it.
        place: String,
        /// The names that it has.
        header: String,
    },
    /// Columns stand in the header with other capitals, spaces or signs.
    #[error(
        "the delivery of {dataset} has the column {said}: capitals and spaces count; rename it in the file, or name it so in the contract (customProperty path)"
    )]
    ColumnSpelling {
        /// The dataset.
        dataset: String,
        /// The names that it has and those that it should have, in words.
        said: String,
    },
    /// The columns are not separated by commas.
    #[error(
        "the delivery of {dataset} has {separator} between its columns and {read} are read: save the file with them, or say the `delimiter` in the contract (customProperty csv)"
    )]
    Separator {
        /// The dataset.
        dataset: String,
        /// What stands there.
        separator: &'static str,
        /// What the contract says.
        read: String,
    },
    /// A column that the contract reads stands twice in the header.
    #[error("the delivery of {dataset} has the column {name:?} twice; rename one of them")]
    ColumnTwice {
        /// The dataset.
        dataset: String,
        /// The name.
        name: String,
    },
    /// It has columns that the contract does not name, and the contract refuses those.
    #[error(
        "the delivery of {dataset} has columns that its contract does not name, and `onNewColumn` is refuse: {names}; add them to the contract, or take them out of the file"
    )]
    NewColumns {
        /// The dataset.
        dataset: String,
        /// Their names.
        names: String,
    },
    /// Nothing is where the rows should be.
    #[error(
        "the delivery of {dataset} has no array at {path}, where its contract says that the rows are (rowsPath); nothing of it was loaded"
    )]
    NoRows {
        /// The dataset.
        dataset: String,
        /// The way to the rows.
        path: String,
    },
    /// What packs it is broken.
    #[error(
        "the delivery of {dataset} is packed with {form} and cannot be unpacked past byte {unpacked} of its content: {what}; nothing of it was loaded"
    )]
    Packing {
        /// The dataset.
        dataset: String,
        /// With what it is packed.
        form: &'static str,
        /// What is wrong, and what to do.
        what: &'static str,
        /// So many unpacked bytes came out.
        unpacked: u64,
    },
    /// A ZIP archive as a whole.
    #[error("the delivery of {dataset} is a ZIP archive that is not read: {what}; nothing of it was loaded")]
    Archive {
        /// The dataset.
        dataset: String,
        /// What is wrong, and what to do.
        what: &'static str,
    },
    /// Its text is in another encoding than the contract says.
    #[error(
        "the delivery of {dataset} is not {encoding} at line {line}, before byte {byte} of the file: correct the contract's `encoding`, or the file; nothing of it was loaded"
    )]
    Encoding {
        /// The dataset.
        dataset: String,
        /// The encoding that was read.
        encoding: &'static str,
        /// The line, from 1.
        line: u64,
        /// How far it was read.
        byte: u64,
    },
    /// A file of an archive.
    #[error("{name} of the archive: {error}")]
    Part {
        /// The file's name in the archive.
        name: String,
        /// What is wrong with it.
        error: Box<DeliveryError>,
    },
    /// One of several files.
    #[error("file {number} of the delivery: {error}")]
    OfSeveral {
        /// Which of them, from 1.
        number: usize,
        /// What is wrong with it.
        error: Box<DeliveryError>,
    },
    /// A JSON document whose elements cannot be told apart.
    #[error(
        "the delivery of {dataset} is JSON that cannot be read at line {line}, byte {byte} of the file: {what}; nothing of it was loaded"
    )]
    Document {
        /// The dataset.
        dataset: String,
        /// The line, from 1.
        line: u64,
        /// The byte, from 0.
        byte: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Not one record could be read.
    #[error(
        "none of the {records} records of the delivery of {dataset} could be read as {form}, and nothing of it was loaded; of the first: {reason}"
    )]
    NothingReadable {
        /// The dataset.
        dataset: String,
        /// How many records there are.
        records: u64,
        /// As what they were read.
        form: &'static str,
        /// What is wrong with the first.
        reason: String,
    },
    /// Not one record has a field of the contract.
    #[error(
        "no record of the delivery of {dataset} has any of the contract's fields, and nothing of it was loaded; it reads: {names}"
    )]
    NothingNamed {
        /// The dataset.
        dataset: String,
        /// The contract's names.
        names: String,
    },
    /// A quote never closes, so nobody can say where the records after it begin.
    #[error(
        "the delivery of {dataset} opens a quote in the record at line {line} that never closes; close it or double it"
    )]
    QuoteUnclosed {
        /// The dataset.
        dataset: String,
        /// The record's first line, from 1.
        line: u64,
    },
    /// The last line is not the trailer that the contract asks for.
    #[error(
        "the delivery of {dataset} does not end with the trailer that its contract says, {trailer:?}: line {line} is another one; is the file whole? Nothing of it was loaded"
    )]
    NoTrailer {
        /// The dataset.
        dataset: String,
        /// The last line, from 1.
        line: u64,
        /// The trailer's form.
        trailer: String,
    },
    /// A record is too large.
    #[error(
        "the delivery of {dataset} has a record at line {line} of more than {bytes_max} bytes; check its quotes and line ends"
    )]
    RecordTooLarge {
        /// The dataset.
        dataset: String,
        /// The record's first line, from 1.
        line: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// Who decoded it is gone.
    #[error(
        "the delivery of {dataset} was interrupted while it was decoded; nothing of it was loaded, deliver it again"
    )]
    Interrupted {
        /// The dataset.
        dataset: String,
    },
    /// A batch could not be built.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl DeliveryError {
    /// What is wrong, whichever file it is wrong with.
    #[must_use]
    pub fn cause(&self) -> &Self {
        match self {
            Self::Part { error, .. } | Self::OfSeveral { error, .. } => error.cause(),
            own => own,
        }
    }

    /// Which of several files is wrong, from 1.
    #[must_use]
    pub fn file(&self) -> Option<usize> {
        match self {
            Self::OfSeveral { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// With the line of the header that is meant.
    pub(super) fn at_line(mut self, line: u64) -> Self {
        if let Self::ColumnMissing { place, .. } = &mut self {
            *place = format!(", line {line} of the file,");
        }
        self
    }

    /// The file could not be read on.
    pub(super) fn unread(dataset: &str, position: u64, source: std::io::Error) -> Self {
        let dataset = dataset.to_owned();
        match source.get_ref().and_then(|error| error.downcast_ref::<Spoilt>()) {
            Some(Spoilt::Packing { form, what, unpacked }) => {
                Self::Packing { dataset, form, what, unpacked: *unpacked }
            }
            Some(Spoilt::Encoding { encoding, line, byte }) => {
                Self::Encoding { dataset, encoding, line: *line, byte: *byte }
            }
            None => Self::Read { dataset, position, source },
        }
    }
}
