//! How fast a view makes rows: `view_bench VIEW.json RESOURCES.ndjson [SECONDS]`.
//!
//! Reads the file into memory, then parses each line, evaluates the view over it and writes its rows as JSON, as the
//! decoder of deliveries does before it reads them by the contract. Invariant: each pass does the whole of the work.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use vitalake_contract::fhir::{self, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [view, resources, ..] = arguments.as_slice() else {
        return Err("view_bench VIEW.json RESOURCES.ndjson".into());
    };
    let seconds = arguments.get(2).map_or(Ok(3), |seconds| seconds.parse())?;
    let read = fhir::read(view, "bench", &std::fs::read(view)?);
    let view = read.view.ok_or_else(|| format!("{:?}", read.diagnostics))?;
    let text = std::fs::read_to_string(resources)?;
    let (mut parsed_only, mut whole, mut rows, mut passes) = (Duration::ZERO, Duration::ZERO, 0_u64, 0_u64);
    let mut row_text = String::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        passes += 1;
        let start = Instant::now();
        for line in text.lines() {
            std::hint::black_box(json::parse(line).map_err(|wrong| wrong.what)?);
        }
        parsed_only += start.elapsed();
        let start = Instant::now();
        for line in text.lines() {
            let resource = json::parse(line).map_err(|wrong| wrong.what)?;
            for row in view.rows(&resource)? {
                row_text.clear();
                row.iter().for_each(|cell| cell.write(&mut row_text));
                std::hint::black_box(&row_text);
                rows += 1;
            }
        }
        whole += start.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate in whole numbers is exact enough")]
    let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
    let bytes = text.len() as u64 * passes;
    println!("parse alone: {:.0} MB/s", rate(bytes, parsed_only) / 1e6);
    println!("parse, view, rows: {:.0} rows/s, {:.0} MB/s", rate(rows, whole), rate(bytes, whole) / 1e6);
    Ok(())
}
